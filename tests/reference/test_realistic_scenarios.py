"""Every overhead of the realistic scenarios follows from a measured run and memory bandwidths."""

import json

import pytest

import card
from card.base.data_files import DATA
from card.hardware import catalogue, load_profile

RUN = json.loads((DATA / "runs" / "h200-server-side-8x512.json").read_text())
PROFILE = load_profile("profile", "h200-llama-3.2-1b")
H200 = catalogue()["h200-sxm"]


def overheads_s():
    """What a block and the head took beyond their matrix products, per sequence on the H200."""
    flop = card.cut_profile(card.load_scenario("nominal")).server_flop * RUN["batch_size"]
    time_s = {row["cut"]: row["time_s"] for row in RUN["rows"]}
    last = max(time_s)
    blocks_s = (time_s[0] - time_s[last]) / last
    block_flop = (flop[0] - flop[last]) / last
    head_s, head_flop = time_s[last] - blocks_s, flop[last] - block_flop
    peak = PROFILE.ceilings.peak_flops
    times_s = blocks_s - block_flop / peak, head_s - head_flop / peak
    return [time_s / RUN["batch_size"] for time_s in times_s]


def test_utilisation_is_that_of_a_large_matrix_product():
    share = PROFILE.ceilings.peak_flops / H200.peak_flops["bf16"]
    scenario = card.load_scenario("realistic")
    ends = [scenario.server, *scenario.devices]
    assert [end.utilisation for end in ends] == pytest.approx([share] * 6, abs=0.005)


@pytest.mark.parametrize(("name", "width"), [("realistic", 1), ("realistic-8b", 2)])
def test_overheads_are_the_measured_ones_by_memory_bandwidth(name, width):
    block_s, head_s = overheads_s()
    scenario = card.load_scenario(name)
    for end in (scenario.server, *scenario.devices):
        slower = H200.memory_bandwidth_gb_per_s / end.board.memory_bandwidth_gb_per_s
        assert end.block_overhead_s == pytest.approx(width * block_s * slower, rel=0.03)
        assert end.head_overhead_s == pytest.approx(head_s * slower, rel=0.03)


@pytest.mark.parametrize("name", ["realistic", "realistic-8b"])
def test_waiting_power_is_the_measured_share(name):
    share = RUN["idle_power_w"] / H200.max_power_w
    scenario = card.load_scenario(name)
    assert scenario.server.static_power_w == scenario.server.waiting_power_w
    for end in (scenario.server, *scenario.devices):
        assert end.waiting_power_w == pytest.approx(share * end.board.max_power_w, abs=0.06)


def test_an_8b_llm_is_held_whole_by_two_boards_of_five():
    system = card.system(card.load_scenario("realistic-8b"))
    assert system.feasible[:, -1].tolist() == [True, True, False, False, False]
