"""Functions that a user keeps in a Python file, named FILE.py:FUNCTION and known by their text."""

from __future__ import annotations

import ast
import hashlib
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Self, TypeVar

from card.base.errors import ScenarioError, laid_to, nearest, repeated, shortened, unknown
from card.base.one_file import HELD, is_installed, only
from card.base.text_files import read_text

Value = TypeVar("Value")
_SIGNALS = 128
"""Exit codes above it say which signal ended a process."""


def is_function(name: str) -> bool:
    """Whether a name is that of a function in a file."""
    return name.rpartition(":")[0].casefold().endswith(".py")


@dataclass(frozen=True)
class OwnFunction:
    """A function as its file stood when it was read; the file may import what is installed.

    It travels to other processes, and machines, with the text of its file, and results are known by
    that text. So it may neither import nor read other files of the user's.
    """

    file: str
    """The file, for messages."""
    name: str
    """The function."""
    source: str
    """All that the file says."""

    @classmethod
    def read(cls, what: str, reference: str) -> Self:
        """The function that FILE.py:FUNCTION names; nothing of the file is run.

        Raises
        ------
        ScenarioError
            If the file cannot be read, is not Python, imports one that lies beside it or is absent,
            or has no such function; `what` names it.
        """
        file, _, name = reference.rpartition(":")
        with laid_to(what):
            source = _text(file)
            known = _defined(file, source)
            _check_imports(file, source)
        if name not in known:
            offered, lack = _functions(known), _lack(source)
            why = f"the file {lack}has" if lack else "there is"
            where = "" if lack else " in the file"
            remedy = nearest(name, offered) if offered else "write it there."
            raise ScenarioError(
                f"{what} = {shortened(reference)}: {why} no function {name!r}{where}; {remedy}"
            )
        return cls(file, name, source)

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns; what it raises is told with the file and the line.

        Raises
        ------
        ScenarioError
            If the function fails, or reads a file that is not installed.
        """
        try:
            with only(self.file), _staying():
                return getattr(_module(self.file, self.source), self.name)(*arguments)
        except ScenarioError:
            raise
        except BaseException as error:
            if is_stop(error):
                raise
            frames = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in frames if frame.filename == self.file]
            where = f", line {lines[-1]}" if lines else ""
            reason = " ".join(f"{type(error).__name__}: {_words(error)}".split())
            raise ScenarioError(
                f"{self.file}{where}: {self.name} fails ({reason:.200}); mend the function."
            ) from error


def is_stop(error: BaseException) -> bool:
    """Whether someone stops the process: Ctrl-C, or the exit that another signal becomes."""
    code = getattr(error, "code", None) if isinstance(error, SystemExit) else None
    by_signal = isinstance(code, int) and code - _SIGNALS in signal.valid_signals()
    return by_signal or isinstance(error, KeyboardInterrupt)


@contextmanager
def _staying() -> Iterator[None]:
    """Context that ends in the folder where it began, so that results are written as asked."""
    try:
        folder = Path.cwd()
    except OSError:  # it has been removed
        folder = None
    try:
        yield
    finally:
        if folder:
            os.chdir(folder)


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # whatever a user's own error does when it is asked
        return "what it says cannot be told"


def functions(
    what: str, names: Iterable[str], known: Mapping[str, Value]
) -> dict[str, Value | OwnFunction]:
    """The known ones of these names, and functions in files by their own names, in their order.

    Raises
    ------
    ScenarioError
        If a name is unknown or given twice, a function cannot be read, or its name is that of
        another.
    """
    found: dict[str, Value | OwnFunction] = {}
    listed = list(names)
    twice = repeated(name for name in listed if isinstance(name, str))
    if twice is not None:
        raise ScenarioError(f"{what}: {twice} is given twice; give it once.")
    for name in listed:
        if isinstance(name, str) and is_function(name):
            own = OwnFunction.read(what, name)
            if own.name in known or own.name in found:
                raise ScenarioError(
                    f"{what} = {shortened(name)}: another one is called {own.name}; rename yours."
                )
            found[own.name] = own
        elif isinstance(name, str) and name.casefold().endswith(".py"):
            raise ScenarioError(
                f"{what} = {shortened(name)} names no function; give FILE.py:FUNCTION, e.g. "
                f"{name}:mine."
            )
        elif isinstance(name, str) and name in known:
            found[name] = known[name]
        else:
            raise unknown(what, name, known)
    return found


def functions_in(file: str, arguments: int) -> list[str]:
    """The functions of a file that take so many arguments, as FILE.py:FUNCTION.

    Raises
    ------
    ScenarioError
        If the file cannot be read, is not Python, or has none.
    """
    source = _text(file)
    named = _functions(_defined(file, source))
    found = [
        f"{file}:{name}"
        for name, node in named.items()
        if not name.startswith("_") and len(node.args.posonlyargs + node.args.args) == arguments
    ]
    if not found:
        remedy = f"add one, or name it: {file}:FUNCTION." if named else "add one."
        raise ScenarioError(
            f"{file} {_lack(source)}has no function of {arguments} arguments; {remedy}"
        )
    return found


def _functions(named: Mapping[str, ast.stmt]) -> dict[str, ast.FunctionDef]:
    return {name: node for name, node in named.items() if isinstance(node, ast.FunctionDef)}


def _lack(source: str) -> str:
    """What a file without any code is, in words for the middle of a sentence."""
    if ast.parse(source).body:
        return ""
    return "has comments alone and " if source.strip() else "is empty and "


def _text(file: str) -> str:
    if not Path(file).is_file():
        raise ScenarioError(f"{file} is no file; give one that has the function, FILE.py:FUNCTION.")
    return read_text(Path(file))


def _defined(file: str, source: str) -> dict[str, ast.stmt]:
    """What a file gives a name to, outside functions and classes."""
    try:
        tree = ast.parse(source, file)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        reason = getattr(error, "msg", None) or str(error) or "it is nested too deeply"
        raise ScenarioError(f"{file}{where} is not valid Python: {reason}; mend it.") from None
    named: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            named[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named |= {one.id: node for one in targets if isinstance(one, ast.Name)}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            named |= {one.asname or one.name: node for one in node.names}
    return named


def _check_imports(file: str, source: str) -> None:
    """Refuse imports from beside the file, whose changes nobody would see, and of what is absent.

    What is imported on a condition, or within a function, may be absent.
    """
    tree = ast.parse(source, file)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or node.names[0].name]
            if node.level:
                raise ScenarioError(
                    f"{file}, line {node.lineno} imports from beside it; results are known by one "
                    f"file, so put both into it, or install {names[0]} as a package."
                )
        else:
            continue
        for name in (name.partition(".")[0] for name in names):
            beside = Path(file).parent / name
            found = beside.with_name(f"{name}.py").is_file() or (beside / "__init__.py").is_file()
            # what is loaded already is not read again, so that nobody would notice
            loaded = getattr(sys.modules.get(name), "__file__", None)
            own = found or bool(loaded and not is_installed(loaded))
            if own and name not in {*sys.stdlib_module_names, "card"} - {"__main__"}:
                where = "lies beside it" if found else f"is {loaded}"
                raise ScenarioError(
                    f"{file}, line {node.lineno} imports {name}, which {where}; results are "
                    f"known by one file, so put both into it, or install {name} as a package."
                )
            if node in tree.body and name not in sys.modules and find_spec(name) is None:
                raise ScenarioError(
                    f"{file}, line {node.lineno} imports {name}, which is not installed; install "
                    f"it, or do without it."
                )


@lru_cache
def _module(file: str, source: str) -> ModuleType:
    """A file's names once it has run; where Python looks for them, as for any module."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    module = ModuleType(f"own_{digest}")
    module.__file__ = file
    vars(module)[HELD] = file
    sys.modules[module.__name__] = module
    exec(compile(source, file, "exec"), module.__dict__)
    return module
