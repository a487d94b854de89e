"""`card.llm.memory`: the cuts that a device may take."""

import numpy as np
import pytest

import card
from card.base.errors import ScenarioError
from card.llm import architecture, block_costs, head_cost

NOMINAL = card.load_scenario("nominal")


def test_memory_and_cut_range_bound_the_feasible_cuts():
    system = card.system(
        NOMINAL.updated({"training.cut_range": [2, 14], "devices.device-4.memory_share": 0.2})
    )
    assert np.flatnonzero(system.feasible[0]).tolist() == list(range(2, 15))
    usable = 0.2 * 8 * 8e9
    fits = np.flatnonzero(system.profile.device_memory_bit <= usable)
    assert np.flatnonzero(system.feasible[3]).tolist() == [c for c in fits if 2 <= c <= 14]
    assert 2 < system.feasible[3].sum() < 13


def test_memory_too_small_for_any_cut_names_the_device_and_the_need():
    with pytest.raises(ScenarioError, match=r"devices.device-2: no cut fits .* 0.525 GB, usable"):
        card.system(NOMINAL.updated({"devices.device-2.memory_share": 0.01}))


class TestServer:
    def test_holds_the_rest_of_the_blocks_and_a_copy_of_a_tied_head(self):
        arch, profile = architecture(NOMINAL.llm), card.cut_profile(NOMINAL)
        training, lora = NOMINAL.training, NOMINAL.lora
        first, inner, *_ = block_costs(arch, training, lora)
        head = head_cost(arch, training)
        weights = inner.parameters + arch.vocabulary * arch.hidden + arch.norm_parameters
        last = 16 * (weights + 4 * inner.adapter_parameters) + inner.saved_bit + head.saved_bit
        assert profile.server_memory_bit[-1] == 0
        assert profile.server_memory_bit[-2] == last
        one_block = 16 * (first.parameters + 4 * first.adapter_parameters) + first.saved_bit
        assert profile.server_memory_bit[0] - profile.server_memory_bit[1] == one_block

    def test_has_no_head_where_it_stays_on_the_device(self):
        vanilla = card.cut_profile(NOMINAL)
        ushaped = card.cut_profile(NOMINAL.updated({"training.topology": "u-shaped"}))
        arch, head = (
            architecture(NOMINAL.llm),
            head_cost(architecture(NOMINAL.llm), NOMINAL.training),
        )
        head_bit = 16 * (arch.vocabulary * arch.hidden + arch.norm_parameters) + head.saved_bit
        expected = vanilla.server_memory_bit[:-1] - head_bit
        assert ushaped.server_memory_bit[:-1].tolist() == expected.tolist()
        assert ushaped.server_memory_bit[-1] == 0

    def test_too_small_for_small_cuts_leaves_the_others(self):
        study = card.load_scenario("nominal", **{"llm": "llama-3.2-3b"})
        system = card.system(study)
        served = system.profile.server_memory_bit <= 8e9 * 8
        assert not served[0]
        assert (system.feasible <= served).all()
        assert card.solve(system, 0, 1e9, 1e9).cut >= np.flatnonzero(served)[0]

    def test_too_small_for_what_any_cut_leaves_names_it_and_the_need(self):
        with pytest.raises(ScenarioError) as refusal:
            card.load_scenario("nominal", llm="llama-3.1-8b")
        assert str(refusal.value) == (
            "server.hardware = 'rtx-4060-ti': what a cut leaves to the server does not fit its "
            "memory; with devices.device-3 the smallest need is 8.67 GB, it has 8 GB. Choose a "
            "smaller llm or mini-batch, or a server or device with more memory."
        )
