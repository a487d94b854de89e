"""The interface that notebooks and studies rely on: changing it changes this file."""

import dataclasses
import inspect
import subprocess
import sys

import pytest

import card

NAMES = [
    "Calibration",
    "CalibrationError",
    "Claim",
    "Costs",
    "CutProfile",
    "Decision",
    "Scenario",
    "ScenarioError",
    "System",
    "Target",
    "benchmark",
    "calibrate",
    "claims",
    "cut_profile",
    "evaluate",
    "load_scenario",
    "simulate",
    "solve",
    "solve_exhaustive",
    "sweep",
    "system",
]
SIGNATURES = {
    "benchmark": "policies scenarios rounds seed",
    "calibrate": "scenario targets over rounds seed steps tolerance",
    "claims": "",
    "cut_profile": "scenario",
    "evaluate": "system device cut frequency_hz uplink_bps downlink_bps",
    "load_scenario": "name_or_path overrides",
    "simulate": "scenario policies rounds seed library",
    "solve": "system device uplink_bps downlink_bps delay_weight "
    "delay_price energy_price device_energy_price",
    "solve_exhaustive": "system device uplink_bps downlink_bps delay_weight "
    "delay_price energy_price device_energy_price",
    "sweep": "scenario over policies rounds seed output client library",
    "system": "scenario",
}


def test_names_are_frozen():
    assert sorted(card.__all__) == NAMES


@pytest.mark.parametrize("name", SIGNATURES)
def test_parameters_are_frozen(name):
    assert " ".join(inspect.signature(getattr(card, name)).parameters) == SIGNATURES[name]


def test_names_load_on_first_use_and_unknown_ones_are_attribute_errors():
    code = (
        "import card, sys; assert not {'numpy', 'pydantic'} & set(sys.modules);"
        "assert set(card.__all__) <= set(dir(card)); card.solve; assert 'numpy' in sys.modules;"
        "from card import *; assert callable(simulate) and not hasattr(card, 'solv')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_function_has_its_signature_above():
    functions = {name for name in NAMES if inspect.isfunction(getattr(card, name))}
    assert functions == set(SIGNATURES)


@pytest.mark.parametrize("name", NAMES)
def test_name_is_documented(name):
    thing = getattr(card, name)
    # dataclasses without a docstring get their signature for one
    assert thing.__doc__
    assert not thing.__doc__.startswith(f"{name}(")


@pytest.mark.parametrize("name", [n for n in NAMES if dataclasses.is_dataclass(getattr(card, n))])
def test_public_properties_are_documented(name):
    thing = getattr(card, name)
    properties = inspect.getmembers(thing, lambda member: isinstance(member, property))
    methods = inspect.getmembers(thing, inspect.isfunction)
    public = [member for key, member in [*properties, *methods] if not key.startswith("_")]
    assert [member for member in public if not member.__doc__] == []


def test_profile_columns_are_frozen():
    assert [field.name for field in dataclasses.fields(card.CutProfile)] == [
        "cut",
        "uplink_bits",
        "downlink_bits",
        "device_flop",
        "server_flop",
        "uplink_bit",
        "downlink_bit",
        "adapter_bit",
        "device_memory_bit",
        "server_memory_bit",
        "messages",
        "device_parts",
    ]
