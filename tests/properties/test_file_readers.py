"""Whatever is in a file, reading it gives what it says or one refusal that names it."""

import contextlib
import json
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import card
from card.base.data_files import DATA
from card.base.text_files import read_json_object
from card.hardware import catalogue, read_profile
from card.hardware.catalogue import measured
from card.llm import public_config
from card.llm.architectures import architecture_of

PIECES = """nominal base training lora.rank devices hardware device-1 a.json 010 1_000 yes .inf .nan
1e400 null ~ << !!int !!bool !x &a *a --- ... | > ? , [ ] { } # ' " : -"""
SPACED = ["%YAML 1.1", "\n", "\n  ", "\n- ", ": ", "- ", "\t", "\r", "\0", "\ufeff", "9" * 5000]
WORDS = st.sampled_from([*PIECES.split(), *SPACED])
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, 2**64, -(2**63), 10**400, 0, -1, 1, 1e308, 5e-324]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(string.printable, max_size=8),
    st.sampled_from(["010", "1_000", "yes", "10e6", "nominal", "rtx-4090", "../x.json", "a.b", ""]),
)
VALUES = st.recursive(
    PLAIN,
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3)
    ),
    max_leaves=8,
)
ONCE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """A file with one stretch of it replaced."""
    start = draw(st.integers(0, len(content)))
    size = draw(st.integers(0, 20) | st.just(len(content)))
    return content[:start] + draw(scribble()) + content[start + size :]


@st.composite
def scribble(draw) -> bytes:
    """Pieces of YAML and JSON in any order, or any bytes."""
    pieces = draw(st.lists(WORDS | st.text(max_size=4), max_size=12))
    return draw(st.just("".join(pieces).encode("utf-8", "replace")) | st.binary(max_size=40))


@st.composite
def altered(draw, raw: dict) -> dict:
    """A document with one value of it replaced, removed or added, at any depth."""
    changed = json.loads(json.dumps(raw))
    node = changed
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys)) if keys else None
        if key is None or not isinstance(node[key], (dict, list)) or draw(st.booleans()):
            break
        node = node[key]
    match draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace" if key is not None:
            node[key] = draw(VALUES)
        case "remove" if key is not None:
            del node[key]
        case _ if isinstance(node, dict):
            node[draw(st.text(max_size=5))] = draw(VALUES)
        case _:
            node.append(draw(VALUES))
    return changed


SCENARIO = card.load_scenario("nominal").model_dump(mode="json")
STUDY = (DATA / "scenarios/studies/bigger-llm.yml").read_bytes()
MACHINE = DATA / "profiles/cpu-epyc-2-cores.json"
LLMS = ["llama-3.2-1b", "gpt-2", "gemma-2-2b"]


def refused(read, path: Path) -> None:
    """Read a file; nothing leaves but the one error."""
    with contextlib.suppress(card.ScenarioError):
        read(path)


@ONCE
@given(content=scribble() | damaged(STUDY))
def test_study_files(tmp_path, content):
    path = tmp_path / "study.yml"
    path.write_bytes(content)
    refused(card.load_scenario, path)


@ONCE
@given(raw=altered(SCENARIO))
def test_scenarios_with_other_values(tmp_path, raw):
    path = tmp_path / "study.yml"
    path.write_text(json.dumps(raw), "utf-8")
    refused(card.load_scenario, path)


@ONCE
@given(
    content=scribble()
    | damaged(MACHINE.read_bytes())
    | altered(json.loads(MACHINE.read_bytes())).map(lambda raw: json.dumps(raw).encode())
)
def test_measured_profiles(tmp_path, content):
    path = tmp_path / "machine.json"
    path.write_bytes(content)
    refused(lambda file: measured(read_profile(file)), path)


@ONCE
@pytest.mark.parametrize("name", LLMS)
@given(data=st.data())
def test_configurations_of_llms(tmp_path, name, data):
    raw = public_config(name)
    content = data.draw(
        scribble()
        | damaged(json.dumps(raw).encode())
        | altered(raw).map(lambda raw: json.dumps(raw).encode())
    )
    path = tmp_path / "config.json"
    path.write_bytes(content)
    refused(lambda file: architecture_of("it", read_json_object(file, "get it again")), path)


def test_the_documents_are_sound_before_they_are_damaged():
    assert card.load_scenario("bigger-llm")
    assert measured(read_profile(MACHINE))
    assert catalogue()
    assert all(architecture_of(name, public_config(name)) for name in LLMS)
