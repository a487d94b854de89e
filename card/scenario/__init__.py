"""Scenarios: everything a study may change, validated once, with the origin of every number."""

from card.scenario.ends import Device, Known, Server
from card.scenario.parts import (
    ALL_LINEAR,
    ChannelState,
    Link,
    Lora,
    Objective,
    Optimiser,
    Privacy,
    Simulation,
    Training,
    Wire,
)
from card.scenario.reading import read_scenario, read_study
from card.scenario.whole import Scenario
