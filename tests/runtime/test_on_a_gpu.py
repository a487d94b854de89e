"""Real rounds with one end or both on a GPU; where torch finds none, nothing here is tested."""

import pytest
import torch
from conversation import conversation

import card
from card.base.errors import ScenarioError
from card.training.actuation import PLAIN, Machine, actuator
from card.training.energy import Sensor

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
CUTS = (0, 2, 4)


@pytest.fixture(scope="module")
def gpu():
    return Machine("cuda", sensor=Sensor.of("cuda"))


def losses(folder, machine, device_machine, topology):
    scenario = card.load_scenario("test-bed", **{"training.topology": topology})
    log, _, _ = conversation(
        scenario, folder, ["device-1"], rounds=len(CUTS), cuts=CUTS,
        machine=machine, device_machine=device_machine,
    )  # fmt: skip
    return log, [event["loss"] for event in log.named("iteration")]


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
@pytest.mark.parametrize("ends", ["server", "device", "both"])
def test_losses_are_those_of_the_processor(ends, topology, gpu, tmp_path):
    _, expected = losses(tmp_path / "cpu", PLAIN, PLAIN, topology)
    chosen = (gpu if ends != "device" else PLAIN, gpu if ends != "server" else PLAIN)
    log, found = losses(tmp_path / "gpu", *chosen, topology)
    # float32 throughout; sums in another order, which AdamW carries through all rounds
    assert found == pytest.approx(expected, rel=1e-3)
    if ends != "device" and gpu.sensor.read_j:
        assert all(e["server_busy_j"] + e["server_waiting_j"] > 0 for e in log.named("round"))


def test_the_clock_is_set_where_its_owner_allows_it(tmp_path):
    scenario = card.load_scenario("test-bed")
    top_hz = card.system(scenario).frequency_max_hz
    try:
        locked = actuator("clock", "cuda", top_hz)
    except ScenarioError as refusal:
        pytest.skip(str(refusal))
    log, _, _ = conversation(
        scenario, tmp_path, ["device-1"], rounds=1, cuts=(0,), machine=Machine("cuda", locked)
    )
    (found,) = log.named("round")
    assert found["set_clock_hz"] > 0
