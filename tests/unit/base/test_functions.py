"""Functions in a user's Python file: found without running it, known by its text."""

import importlib
import os
import pickle
import platform
import py_compile
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from card.base import one_file
from card.base.errors import ScenarioError
from card.base.functions import OwnFunction, functions, functions_in

SOURCE = """
from dataclasses import dataclass
from math import sqrt


@dataclass
class Pair:
    one: "int"


def root(value):
    return sqrt(value)


def pair(one, two, three):
    return Pair(one)


half = lambda value: value / 2


def _hidden(one, two, three): ...
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(SOURCE, "utf-8")
    return path


def test_it_runs_as_the_file_stood_when_it_was_read(file):
    root = OwnFunction.read("policies", f"{file}:root")
    file.write_text("def root(value): return 0", "utf-8")
    assert root(9) == 3
    assert OwnFunction.read("policies", f"{file}:root")(9) == 0


def test_it_travels_with_its_text(file):
    sent = pickle.dumps(OwnFunction.read("policies", f"{file}:pair"))
    file.unlink()
    assert pickle.loads(sent)(1, 2, 3).one == 1


@pytest.mark.parametrize(
    "line",
    ["from math import sqrt as f", "import math\nf = math.sqrt", "f: object = lambda x: x ** 0.5"],
)
def test_it_may_come_from_elsewhere(tmp_path, line):
    path = tmp_path / "own.py"
    path.write_text(line, "utf-8")
    assert OwnFunction.read("policies", f"{path}:f")(9) == 3


@pytest.mark.parametrize(
    "line", ["import helper", "from helper.deep import CUT", "def f():\n    from helper import CUT"]
)
@pytest.mark.parametrize("place", ["helper.py", "helper/__init__.py"])
def test_what_lies_beside_it_may_not_be_imported(tmp_path, line, place):
    # or else the results of one helper would be taken for those of another
    path, helper = tmp_path / "own.py", tmp_path / place
    helper.parent.mkdir(exist_ok=True)
    helper.touch()
    path.write_text(f"{line}\nf = g = None", "utf-8")
    with pytest.raises(ScenarioError, match=r"own.py, line \d imports helper, which lies beside"):
        OwnFunction.read("policies", f"{path}:g")
    helper.unlink()
    if line.startswith("def"):
        assert OwnFunction.read("policies", f"{path}:g")
    else:
        with pytest.raises(ScenarioError, match=r"imports helper, which is not installed; install"):
            OwnFunction.read("policies", f"{path}:g")


@pytest.mark.parametrize("line", ["from . import helper", "from .helper import CUT"])
def test_a_relative_import_is_none_of_a_package(tmp_path, line):
    path = tmp_path / "own.py"
    path.write_text(f"{line}\ng = None", "utf-8")
    with pytest.raises(ScenarioError, match=r"own.py, line 1 imports from beside it; .* both into"):
        OwnFunction.read("policies", f"{path}:g")


@pytest.mark.parametrize("ends", ["return 1", "raise ValueError"])
def test_a_function_that_goes_elsewhere_leaves_the_process_where_it_was(
    tmp_path, monkeypatch, ends
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "own.py"
    path.write_text(f"import os\ndef f():\n    os.chdir('/')\n    {ends}\n", "utf-8")
    with suppress(ScenarioError):
        OwnFunction.read("policies", f"{path}:f")()
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize(
    "lines",
    [
        "try:\n    import no_such_solver\nexcept ImportError:\n    no_such_solver = None",
        "if False:\n    import no_such_solver",
        "import sys, numpy.linalg",
        "import __main__",
    ],
)
def test_what_may_be_absent_or_is_there_may_be_imported(tmp_path, lines):
    path = tmp_path / "own.py"
    path.write_text(f"{lines}\ng = None", "utf-8")
    assert OwnFunction.read("policies", f"{path}:g")


READS = {
    "data": "import json\ndef f():\n    with open({0!r}) as file:\n        return json.load(file)",
    "data at once": "from pathlib import Path\nTEXT = Path({0!r}).read_bytes()\ndef f(): ...",
    "arrays": "import numpy as np\ndef f():\n    return np.loadtxt({0!r})",
    "a module by its path": "import runpy\ndef f():\n    return runpy.run_path({0!r})",
    "what it appends to": "def f():\n    with open({0!r}, 'a+') as file:\n"
    "        file.seek(0)\n        return file.read()",
    "what it might make": "import os\ndef f():\n"
    "    return os.open({0!r}, os.O_RDONLY | os.O_CREAT)",
    "in a thread": "from concurrent.futures import ThreadPoolExecutor\n"
    "from pathlib import Path\ndef f():\n"
    "    with ThreadPoolExecutor(1) as pool:\n"
    "        return pool.submit(lambda: Path({0!r}).read_text()).result()",
    "a table": "import sqlite3\ndef f():\n    return sqlite3.connect({0!r})",
    "lines of it": "import linecache\ndef f():\n    return linecache.getline({0!r}, 1)",
    "past a link of the system": "import os\ndef f():\n    os.chdir({1!r})\n"
    "    return open('/proc/self/cwd/beside.py').read()",
    "a module by a name": "import sys\nsys.path.insert(0, {1!r})\ndef f():\n"
    "    return __import__('importlib').import_module('beside')",
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("again", [False, True])
def test_no_other_file_is_read(tmp_path, monkeypatch, how, again):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    beside, own = folder / "beside.py", tmp_path / "own.py"
    beside.write_text("1", "utf-8")
    if again:  # what was compiled of a module would do in its place
        py_compile.compile(str(beside))
    own.write_text(READS[how].format(str(beside), str(folder)), "utf-8")
    function = OwnFunction.read("policies", f"{own}:f")
    with pytest.raises(ScenarioError, match=r"own.py reads .*beside.*; results are known by one"):
        function()
    assert beside.read_text("utf-8") == "1"  # others read on


@pytest.mark.parametrize("folder", [".mine", "plain"])
def test_no_folder_of_the_home_but_those_of_libraries_is_read(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("HOME", str(tmp_path))
    own, data = tmp_path / "own.py", tmp_path / folder / "data.txt"
    own.write_text(
        "from pathlib import Path\ndef f(path):\n    return Path(path).read_text()", "utf-8"
    )
    settings = tmp_path / ".config" / "settings.txt"
    for file in (data, settings):
        file.parent.mkdir()
        file.write_text("1", "utf-8")
    function = OwnFunction.read("policies", f"{own}:f")
    with pytest.raises(ScenarioError, match=r"own.py reads .*data.txt"):
        function(str(data))
    assert function(str(settings)) == "1"


DOES = {
    "lists": "import os\ndef f(): return len(os.listdir())",
    "walks": "from pathlib import Path\ndef f(): return [*Path().rglob('*')]",
    "opens a folder": "import os\ndef f(): return os.open('.', os.O_RDONLY)",
    "walks it opened": "import os\ndef f(): return [*os.fwalk('.')]",
    "opens one that is installed": "import os, json\n"
    "def f(): return os.open(os.path.dirname(json.__file__), os.O_RDONLY)",
    "starts": "import subprocess\ndef f(): return subprocess.check_output(['true'])",
    "asks the shell": "import os\ndef f(): return os.system('true')",
}


@pytest.mark.parametrize("how", DOES)
def test_no_folder_is_listed_and_no_program_started(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(DOES[how], "utf-8")
    with pytest.raises(ScenarioError, match=r"own.py (lists|starts|opens) .* known by one file"):
        OwnFunction.read("policies", "own.py:f")()


def test_data_is_none_of_what_python_keeps(tmp_path):
    kept, own = tmp_path / "__pycache__", tmp_path / "own.py"
    kept.mkdir()
    (kept / "data.txt").write_text("1", "utf-8")
    own.write_text("def f(path): return open(path).read()", "utf-8")
    with pytest.raises(ScenarioError, match=r"own.py reads .*__pycache__/data\.txt"):
        OwnFunction.read("policies", f"{own}:f")(str(kept / "data.txt"))


MAKES = """
import os, tempfile
def f(data):
    made = tempfile.NamedTemporaryFile('w', suffix='.txt', dir=HERE, delete=False)
    made.write('mine')
    made.close()
    if data:
        os.replace(data, made.name)
    with open(made.name) as again:
        return again.read()
"""


def test_what_it_made_itself_is_read(tmp_path):
    own, data = tmp_path / "own.py", tmp_path / "data.txt"
    own.write_text(MAKES.replace("HERE", repr(str(tmp_path))), "utf-8")
    function = OwnFunction.read("policies", f"{own}:f")
    assert function("") == "mine"
    data.write_text("1", "utf-8")
    with pytest.raises(ScenarioError, match=r"own.py reads .*\.txt, of which no result"):
        function(str(data))


def test_it_may_ask_what_machine_it_is_on(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "_uname_cache", None)  # or else no program is asked
    own = tmp_path / "own.py"
    own.write_text("import platform\ndef f(): return platform.uname().processor\n", "utf-8")
    assert OwnFunction.read("policies", f"{own}:f")() == platform.uname().processor


def test_a_module_of_the_user_s_that_is_loaded_already_is_not_imported(tmp_path, monkeypatch):
    helper, own = tmp_path / "there/helper.py", tmp_path / "here/own.py"
    for file, text in ((helper, "CUT = 1"), (own, "import helper\ndef f(): return helper.CUT")):
        file.parent.mkdir()
        file.write_text(text, "utf-8")
    monkeypatch.syspath_prepend(helper.parent)
    importlib.import_module("helper")
    try:
        with pytest.raises(ScenarioError, match=r"own.py, line 1 imports helper, which is .*there"):
            OwnFunction.read("policies", f"{own}:f")
    finally:
        del sys.modules["helper"]


SCRIPT = """
import sys, traceback, warnings
from card.base.functions import OwnFunction
print(OwnFunction.read("policies", "own.py:f")())
"""


def test_a_traceback_may_quote_the_user_s_script(tmp_path):
    """As torch and others keep the stack that they were imported from."""
    (tmp_path / "main.py").write_text(SCRIPT, "utf-8")
    (tmp_path / "own.py").write_text(
        "import tempfile, traceback\ndef f():\n"
        "    with tempfile.TemporaryDirectory() as made, open(f'{made}/a', 'w+') as file:\n"
        "        file.write('a')\n    return ''.join(traceback.format_stack())\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert 'OwnFunction.read("policies", "own.py:f")()' in done.stdout


def test_what_is_installed_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.py"
    own.write_text(
        "import linecache, os\ndef f():\n    import card.studies.sweep, colorsys\n"
        "    linecache.checkcache()\n    with open(__file__) as me, open('out', 'w') as out:\n"
        "        out.write(me.readline())\n    return card.load_scenario('nominal').title\n",
        "utf-8",
    )
    assert OwnFunction.read("policies", f"{own}:f")().startswith("Five")


def test_what_an_installer_has_linked_is_read(tmp_path, monkeypatch):
    site, real = tmp_path / "site", tmp_path / "elsewhere" / "linked"
    real.mkdir(parents=True)
    (real / "__init__.py").write_text("from pathlib import Path\nHERE = Path(__file__).parent\n")
    (real / "table.txt").write_text("5")
    site.mkdir()
    (site / "linked").symlink_to(real)
    own = tmp_path / "mine" / "own.py"
    own.parent.mkdir()
    own.write_text("import linked\ndef f(): return (linked.HERE / 'table.txt').read_text()\n")
    monkeypatch.syspath_prepend(str(site))
    importlib.import_module("linked")
    with pytest.raises(ScenarioError, match=r"imports linked, which is .*; results are known by"):
        OwnFunction.read("policies", f"{own}:f")
    monkeypatch.setattr(one_file, "_places", lambda: [site])
    assert OwnFunction.read("policies", f"{own}:f")() == "5"


def test_a_user_without_a_home_may_have_a_policy(tmp_path, monkeypatch):
    own = tmp_path / "own.py"
    own.write_text("import colorsys\ndef f(): return len(colorsys.__all__)\n")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert OwnFunction.read("policies", f"{own}:f")() == 6


@pytest.mark.parametrize("name", ["file:{}?mode=ro", "file://{}", "{}"])
def test_a_database_is_a_file_however_it_is_named(tmp_path, name):
    data = tmp_path / "d.db"
    data.touch()
    own = tmp_path / "own.py"
    opened = f"sqlite3.connect({name.format(data)!r}, uri=True)"
    own.write_text(f"import sqlite3\ndef f(): {opened}\n")
    with pytest.raises(ScenarioError, match=r"own.py reads .*d\.db, of which no result"):
        OwnFunction.read("policies", f"{own}:f")()


def test_reading_runs_nothing(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("raise SystemExit\ndef f(): ...", "utf-8")
    OwnFunction.read("policies", f"{path}:f")


def test_those_of_as_many_arguments_are_found(file):
    assert functions_in(str(file), 3) == [f"{file}:pair"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{0}:rot", "policies = '{0}:rot': there is no function 'rot' in the file; did you mean"),
        ("{0}", "policies = '{0}' names no function; give FILE.py:FUNCTION, e.g. {0}:mine."),
        ("none.py:f", "policies: none.py is no file; give one that has the function"),
        (".py:f", "policies: .py is no file; give one that has the function"),
        ("cord", "policies = 'cord' is unknown; did you mean 'card'?"),
        (5, "policies = 5 is unknown; choose one of card."),
        ("{0}:root", "policies = '{0}:root': another one is called root; rename yours."),
    ],
)
def test_what_is_no_function_is_told(file, monkeypatch, name, message):
    monkeypatch.chdir(file.parent)
    given = name.format(file.name) if isinstance(name, str) else name
    with pytest.raises(ScenarioError) as refusal:
        functions("policies", ["card", f"{file}:root", given], {"card": 1})
    assert str(refusal.value).startswith(message.format(file.name))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty and has no function 'mine'; write it there."),
        ("# mine", "the file has comments alone and has no function 'mine'; write it there."),
        ("x = 1", "there is no function 'mine' in the file; write it there."),
        ("def mind(x): ...", "there is no function 'mine' in the file; did you mean 'mind'?"),
    ],
)
def test_a_file_without_the_function_is_told_what_it_has(tmp_path, text, message):
    path = tmp_path / "own.py"
    path.write_text(text, "utf-8")
    with pytest.raises(ScenarioError) as refusal:
        functions("policies", [f"{path}:mine"], {"card": 1})
    assert str(refusal.value).endswith(f"own.py:mine': {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", ", line 1 is not valid Python: "),
        ("\x00", " is not valid Python: "),
        ("(" * 5000, ", line 1 is not valid Python: "),
        ("f(\n\n  1,\n", ", line 1 is not valid Python: '(' was never closed; mend it."),
        ("", " is empty and has no function of 3 arguments; add one."),
        ("\n\t\n", " is empty and has no function of 3 arguments; add one."),
        ("# mine\n", " has comments alone and has no function of 3 arguments; add one."),
        ("mine = 3\n", " has no function of 3 arguments; add one."),
        ("def f(x): ...\n", " has no function of 3 arguments; add one, or name it: "),
    ],
)
def test_a_file_that_is_no_python_is_told(tmp_path, text, message):
    path = tmp_path / "own.py"
    path.write_text(text, "utf-8")
    with pytest.raises(ScenarioError) as refusal:
        functions_in(str(path), 3)
    assert str(refusal.value).startswith(f"{path}{message}")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f():\n    return 1 / 0\n", ", line 2: f fails (ZeroDivisionError: division by zero)"),
        ("def f():\n    import nothing_here\n", ", line 2: f fails (ModuleNotFoundError: No mod"),
        ("def f(x): ...\n", ": f fails (TypeError: f() missing 1 required"),
        ("f = 5\n", ": f fails (TypeError: 'int' object is not callable); mend the function."),
        ("def f(): raise SystemExit(3)\n", ", line 1: f fails (SystemExit: 3); mend the function."),
        ("import sys\nsys.exit('hi')\ndef f(): ...\n", ", line 2: f fails (SystemExit: hi); mend"),
        ("def f(): raise SystemExit(999)\n", ", line 1: f fails (SystemExit: 999); mend the"),
        (
            "class E(Exception):\n    def __str__(self): raise ValueError\ndef f(): raise E\n",
            ", line 3: f fails (E: what it says cannot be told); mend the function.",
        ),
        ("class E(BaseException): ...\ndef f(): raise E\n", ", line 2: f fails (E:); mend the"),
    ],
)
def test_what_it_raises_names_the_line(tmp_path, text, message):
    path = tmp_path / "own.py"
    path.write_text(text, "utf-8")
    with pytest.raises(ScenarioError) as refusal:
        OwnFunction.read("policies", f"{path}:f")()
    assert str(refusal.value).startswith(f"{path}{message}")


@pytest.mark.parametrize("error", ["SystemExit(143)", "KeyboardInterrupt"])
def test_a_signal_that_ends_the_process_does_so_in_a_function_too(tmp_path, error):
    path = tmp_path / "own.py"
    path.write_text(f"def f(): raise {error}", "utf-8")
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        OwnFunction.read("policies", f"{path}:f")()
