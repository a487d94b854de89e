"""How a rejection is worded; `test_refused_scenarios` asserts the messages themselves."""

import re
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from card.base.errors import ScenarioError, argument, dotted, from_validation, nearest, unknown


def test_refusal_is_a_value_error():
    assert issubclass(ScenarioError, ValueError)


def test_nearest_names_the_closest_word_only_if_one_is_close():
    assert nearest("nominl", ["nominal", "calibrated"]) == "did you mean 'nominal'?"
    assert nearest("zebra", ["nominal", "calibrated"]) == "choose one of nominal, calibrated."
    assert nearest("rnk", ["rank"], around="lora.") == "did you mean 'lora.rank'?"


def test_unknown_shortens_a_long_word():
    message = str(unknown("llm", "x" * 500, ["gpt-2"]))
    assert message.endswith("is unknown; choose one of gpt-2.")
    assert len(message) < 100


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (("link", "fading"), "link.fading"),
        (("devices", 0, "distance_m"), "devices.near.distance_m"),
        (("devices", 1, "distance_m"), "devices.1.distance_m"),
        (("devices", 2, "distance_m"), "devices.2.distance_m"),
        (("devices", 9), "devices.9"),
        ((), ""),
    ],
)
def test_path_names_list_items_as_overrides_do(location, path):
    raw = {"link": {}, "devices": [{"name": "near"}, {"name": "a.b"}, "no mapping"]}
    assert dotted(location, raw) == path


class Inner(BaseModel):
    pair: tuple[int, float | None] = (0, None)
    flag: bool = True
    below: float = Field(default=0, lt=1)


class Outer(BaseModel):
    part: Inner
    items: list[Inner] = Field(default=[], max_length=2)
    named: dict[Literal["left", "right"], Inner] = {}
    ids: dict[Annotated[str, Field(pattern="^C")], Inner] = {}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"part": {"flag": "x"}}, "part.flag = 'x' is not allowed; give true or false."),
        ({"part": {"below": 1}}, "part.below = 1 is not allowed; give a number below 1."),
        (
            {"part": {"pair": [1]}},
            "part.pair.1 is missing; give null or a number.",
        ),
        (
            {"part": {"pair": {}}},
            "part.pair = {} is not allowed; give a list of 2: a whole number, "
            "then null or a number.",
        ),
        (
            {"part": None},
            "part = null is not allowed; give a mapping of keys to values.",
        ),
        (
            {"part": {}, "items": [{"below": 2}]},
            "items.0.below = 2 is not allowed; give a number below 1.",
        ),
        (
            {"part": {}, "named": {"rihgt": {}}},
            "named.rihgt is not a key of a scenario; did you mean 'named.right'?",
        ),
        (
            {"part": {}, "ids": {"x": {}}},
            "ids.x is not a key of a scenario; give a text that is not blank, as the others are.",
        ),
        (
            {"part": {}, "ids": {"C1": {"below": 2}}},
            "ids.C1.below = 2 is not allowed; give a number below 1.",
        ),
    ],
)
def test_schema_is_put_in_words(raw, message):
    with pytest.raises(ValidationError) as error:
        Outer.model_validate(raw)
    assert str(from_validation(error.value, Outer, raw)) == message


def test_a_number_that_python_does_not_write_is_shortened():
    assert re.fullmatch(r"-0x[0-9a-f]+… of 19,932 bits", argument(-(10**6000)))
