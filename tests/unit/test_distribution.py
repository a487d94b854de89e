"""What is built of the project: a wheel that works by itself, and a source that builds it."""

import subprocess
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from core_only import build, environment

import card

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheel_has_the_package_its_types_and_all_data(wheel):
    found = set(contents(wheel))
    data = {path.relative_to(ROOT) for path in (ROOT / "data").rglob("*") if path.is_file()}
    assert {"card/py.typed", *(f"card/{path.as_posix()}" for path in data)} <= found
    tops = {name.partition("/")[0] for name in found}
    assert tops == {"card", f"card_split_learning-{card.__version__}.dist-info"}


def test_wheel_says_what_an_index_shows(wheel):
    (text,) = (text for name, text in contents(wheel).items() if name.endswith("/METADATA"))
    told = Parser().parsestr(text.decode())
    assert "Typing :: Typed" in told.get_all("Classifier")
    assert len(told.get_all("Project-URL")) == 2
    assert set(told.get_all("Provides-Extra")) == {
        "book",
        "energy",
        "export",
        "lab",
        "metrics",
        "qlora",
        "search",
        "sweep",
        "test",
    }


def test_source_builds_the_same_wheel(wheel, tmp_path):
    with tarfile.open(build("sdist", ROOT, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("card_split_learning-*")
    assert contents(build("wheel", source, tmp_path / "again")) == contents(wheel)
    for name in ("tests", "notebooks", "book", "Makefile", "requirements.lock"):
        assert (source / name).exists()


@pytest.mark.slow
def test_wheel_works_outside_the_checkout_with_the_core_alone(wheel, tmp_path):
    python = environment(tmp_path / "venv", wheel=wheel)

    def said(*arguments):
        words = [python, "-I", *arguments]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert str(tmp_path) in said("-c", "import card; print(card.__file__)")[1]
    assert said("-m", "card", "--version") == (0, f"card {card.__version__}\n")
    assert said("-m", "card", "check")[0] == 0
    assert said("-m", "card", "new", "my-study")[0] == 0
    assert said("-m", "card", "solve", "my-study", "--device", "device-1")[0] == 0
    code, message = said("-m", "card", "certs", "mine")
    assert code == 2
    assert "pip install 'card-split-learning[lab]'" in message
