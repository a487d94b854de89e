"""Results of whatever is loaded are finite; the rest is refused at loading."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import card
from card.base.errors import ScenarioError
from card.channel import state_rates

TINY = [5e-324, 2.3e-308, 1e-200, 1e-100, 1e-30, 1e-12]
HUGE = [1e12, 1e30, 1e100, 1e200, 1.7e308]
LEVELS = [-300.0, -200.0, 0.0, 200.0, 300.0]
NEXT_TO_1 = float(np.nextafter(1, 0))
MOST_W = card.load_scenario("nominal").server.board.max_power_w

LIMITS = {
    "link.bandwidth_hz": [*TINY, 1e3, *HUGE],
    "link.uplink_power_dbm": LEVELS,
    "link.downlink_power_dbm": LEVELS,
    "link.noise_dbm_per_hz": [-200.0, -50.0],
    "link.reference_loss_db": LEVELS,
    "link.shadowing_db": [0.0, 5e-324, 100.0],
    "link.noise_figure_db": [5e-324, 100.0],
    "link.gap_db": [5e-324, 100.0],
    "link.spectral_efficiency_max": [*TINY, 100.0],
    "link.overhead_share": [5e-324, NEXT_TO_1],
    "link.fading": ["none", "block"],
    "link.fading_draws": [2],
    "objective.delay_weight": [0.0, *TINY, NEXT_TO_1, 1.0],
    "server.static_power_w": [0.0, *TINY, float(np.nextafter(MOST_W, 0))],
    "server.minimum_frequency_hz": [0.0, *TINY, 1.0],
    "server.utilisation": TINY,
    "server.clocks_hz": [[small, 2e9] for small in [*TINY, 1e6]],
    "devices.device-1.utilisation": TINY,
    "devices.device-1.distance_m": [1.0, 1e6],
    "devices.device-1.memory_share": [*TINY, 1.0],
    "channel_states.poor.path_loss_exponent": [1.0, 8.0],
    "training.local_iterations": [2**62],
    "training.batch_size": [2**62],
    "lora.rank": [2**62],
    "wire.uplink_bits": [[16, 4]],
    "wire.downlink_bits": [[4], [8, 16]],
    "wire.group": [1, 10**9],
}
changes = st.lists(st.sampled_from(sorted(LIMITS)), min_size=1, max_size=3, unique=True).flatmap(
    lambda paths: st.fixed_dictionaries({path: st.sampled_from(LIMITS[path]) for path in paths})
)


def all_finite(scenario):
    """Whether decisions at the states' rates, and every round simulated, are finite."""
    results = card.simulate(scenario, rounds=2)
    uplink_bps, downlink_bps = state_rates(scenario)
    found = card.solve(scenario, np.arange(uplink_bps.shape[1]), uplink_bps, downlink_bps)
    numbers = [found.delay_s, found.energy_j, found.objective, found.frequency_hz]
    numbers += [part.values for part in results.data_vars.values()]
    return all(np.isfinite(array).all() for array in numbers)


@given(changes=changes)
def test_results_of_what_is_loaded_are_finite(changes):
    try:
        scenario = card.load_scenario("nominal", **changes)
    except ScenarioError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.filterwarnings("ignore", "one Rayleigh draw")
        assert all_finite(scenario)


@pytest.mark.parametrize(
    "path",
    ["server.utilisation", "devices.device-1.utilisation", "link.bandwidth_hz"],
)
def test_what_overflows_is_refused_with_the_range(path):
    with pytest.raises(ScenarioError, match=r"give a number from \S+ to [0-9e+]+\."):
        card.load_scenario("nominal", **{path: LIMITS[path][0]})


@given(rate=st.sampled_from(TINY + HUGE) | st.floats(min_value=0, exclude_min=True))
def test_a_rate_has_a_finite_decision_or_is_refused(rate):
    nominal = card.load_scenario("nominal")
    for up, down in ((rate, 1e6), (1e6, rate), (rate, rate)):
        if 1e-100 <= rate <= 1e100:
            found = card.solve(nominal, "device-1", up, down)
            assert np.isfinite([found.delay_s, found.energy_j, found.objective]).all()
        else:
            with pytest.raises(ScenarioError, match=r"give numbers from 1e-100 to 1e\+100\."):
                card.solve(nominal, "device-1", up, down)
