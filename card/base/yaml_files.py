"""Reads and writes YAML 1.2, with errors that name the file and the line."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from copy import deepcopy
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any
from unicodedata import category

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.parser import ParserError
from ruamel.yaml.representer import RepresenterError
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scanner import ScannerError

from card.base.errors import ScenarioError, shortened
from card.base.letters import no_letter
from card.base.text_files import DEEPEST, MOST_DIGITS, read_text

MOST_VALUES = 200_000
"""Values of a document at most, each alias counted as what it stands for."""


_CORE = {
    f"tag:yaml.org,2002:{tag}": re.compile(rf"(?:{pattern})\Z")
    for tag, pattern in {
        "null": r"~|null|Null|NULL|",
        "bool": r"true|True|TRUE|false|False|FALSE",
        "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
        "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "merge": r"<<",
    }.items()
}
"""How the core schema of YAML 1.2 (section 10.3.2) writes what is no text, and merge keys."""


class _Resolver(VersionedResolver):
    """Takes only what the core schema does for numbers.

    ruamel's own takes 1_000 and 0b11 for numbers and .5e3 for a word.
    """

    processing_version = (1, 2)
    versioned_resolver = {None: [*_CORE.items()]}  # noqa: RUF012


_UNFORESEEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)
_KINDS = ("null", "bool", "int", "float", "str", "seq", "map")
_TAGS = tuple(f"tag:yaml.org,2002:{kind}" for kind in _KINDS)


class _Constructor(SafeConstructor):
    yaml_constructors = {tag: SafeConstructor.yaml_constructors[tag] for tag in (*_TAGS, None)} | {
        "tag:yaml.org,2002:merge": SafeConstructor.construct_yaml_str
    }  # where it is no key

    def flatten_mapping(self, node: Any) -> None:
        """Refuse a key that is written twice, which ruamel overlooks beside a merge key."""
        keys = [] if node.merge else [key for key, _ in node.value]
        written = set()
        for key in keys:
            if isinstance(key, ScalarNode) and key.value in written:
                raise _problem(f"the key {key.value!r:.40} is written twice", key)
            written.add(key.value if isinstance(key, ScalarNode) else key)
        super().flatten_mapping(node)


class _Composer(Composer):
    def compose_scalar_node(self, anchor: Any) -> Any:
        """Take what the tag `!` stands before as a word; ruamel takes it as if nothing did."""
        event = self.parser.peek_event()
        if str(event.ctag) == "!":
            event.implicit = (False, True)  # as in quotes
        return super().compose_scalar_node(anchor)


def _problem(problem: str, node: Node) -> ConstructorError:
    return ConstructorError(problem=problem, problem_mark=node.start_mark)


def _check_scalar(node: ScalarNode) -> None:
    """Refuse what has a tag that it is not, numbers without end, and letters that are none."""
    pattern = _CORE.get(str(node.tag))
    if pattern and not pattern.match(node.value):
        raise _problem(f"{node.value!r:.40} is no {str(node.tag).rpartition(':')[2]}", node)
    if str(node.tag).endswith(":int") and len(node.value) > MOST_DIGITS:
        raise _problem(f"a number has {len(node.value):,} digits, more than {MOST_DIGITS:,}", node)
    if odd := no_letter(node.value, "\t\n"):
        what = "whole letter" if category(odd) == "Cs" else "letter that can be printed"
        raise _problem(f"{odd!a} is no {what}", node)


def _check_names(keys: Iterable[Node]) -> None:
    """Refuse a key that is a number, a truth value or nothing, which would change as a name.

    A position in a list stays as it is.
    """
    for key in keys:
        if not isinstance(key, ScalarNode):
            raise _problem("a list or a mapping is no key; write a word", key)
        kind = str(key.tag).rpartition(":")[2]
        position = kind == "int" and re.fullmatch("0|[1-9][0-9]*", key.value)
        if kind in ("null", "bool", "int", "float") and not position:
            raise _problem(f"the key {key.value:.40} is no word; put it in quotes", key)


class _Measure:
    """Refuses what would not fit into memory once aliases are written out, or has no end."""

    def __init__(self, any_keys: bool) -> None:
        self._any_keys = any_keys
        self._known: dict[Node, tuple[int, int] | None] = {}

    def of(self, node: Node) -> tuple[int, int]:
        """Values and levels of a node."""
        if node in self._known:
            known = self._known[node]
            if known is None:
                raise _problem("an alias stands for a part that it is in", node)
            return known
        self._known[node] = None
        parts: list[Node] = []
        if isinstance(node, SequenceNode):
            parts = node.value
        elif isinstance(node, MappingNode):
            parts = [part for pair in node.value for part in pair]
            if not self._any_keys:
                _check_names([key for key, _ in node.value])
        measured = [self.of(part) for part in parts]
        values = 1 + sum(value for value, _ in measured)
        levels = 1 + max((level for _, level in measured), default=-1)
        if isinstance(node, ScalarNode):
            _check_scalar(node)
        if values > MOST_VALUES:
            raise _problem(f"it has more than {MOST_VALUES:,} values, aliases written out", node)
        if levels > DEEPEST:
            raise RecursionError
        self._known[node] = values, levels
        return values, levels


def _load(text: str, any_keys: bool = False) -> Any:
    """What a document says; whatever is wrong with it is a `YAMLError`."""
    return deepcopy(_constructed(text, any_keys))


@lru_cache(maxsize=32)
def _constructed(text: str, any_keys: bool) -> Any:
    """`_load`, whose result is kept, since the same few files are read again and again."""
    yaml = _yaml()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an anchor may be set again
            root = yaml.compose(text)
            if root is None:
                return None
            _Measure(any_keys).of(root)
            return yaml.constructor.construct_document(root)
    except (MaxDepthExceededError, RecursionError):
        raise YAMLError(f"it is nested deeper than {DEEPEST} levels") from None
    except _UNFORESEEN as error:  # ruamel lets them out where a tag and its value do not agree
        raise YAMLError(f"it has a value that cannot be read ({str(error)[:60]})") from None


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver, yaml.Composer, yaml.Constructor = _Resolver, _Composer, _Constructor
    yaml.max_depth = DEEPEST
    return yaml


def read_yaml(
    path: Path, example: str = "title: My title", *, any_keys: bool = False
) -> dict[str, Any]:
    """Mapping stored in a YAML file, with errors that name the file and line.

    Parameters
    ----------
    path
        The file.
    example
        What such a file can say at least, for a file that holds no mapping.
    any_keys
        Leave it to the caller to refuse keys that are no words.

    Raises
    ------
    ScenarioError
        If it cannot be read or is no such file.
    """
    text = read_text(path)
    try:
        content = _load(text, any_keys)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ScenarioError(f"{path}{line} is not valid YAML: {_said(error)}.") from error
    if content is None:
        raise ScenarioError(f"{path} is empty; write a mapping of keys to values, e.g. {example}.")
    if not isinstance(content, dict):
        raise ScenarioError(
            f"{path} holds {shortened(content)}; write a mapping of keys to values, e.g. {example}."
        )
    return content


def parse_value(text: str) -> Any:
    """Value of a `path=value` setting, read as YAML."""
    try:
        return _load(text)
    except YAMLError as error:
        syntax = isinstance(error, (ScannerError, ParserError))
        why = "; quote it" if syntax else f": {_said(error)}; give another"
        raise ScenarioError(f"{shortened(text)} is not a YAML value{why}.") from error


def _said(error: YAMLError) -> str:
    """What is wrong, on one line."""
    return getattr(error, "problem", None) or str(error).splitlines()[0]


def label(value: Any) -> str:
    """A value as a study file writes it on one line.

    Raises
    ------
    ScenarioError
        If no study file can say it.
    """
    yaml, text = _yaml(), StringIO()
    yaml.default_flow_style, yaml.width = True, 10**6
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    try:
        yaml.dump(value, text)
    except RepresenterError:
        raise ScenarioError(
            f"{shortened(value)} is not allowed; give numbers, words, lists or mappings."
        ) from None
    return text.getvalue().removesuffix("\n").removesuffix("\n...")
