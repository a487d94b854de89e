"""`card.figures.hardware`: the data drawn are the data given."""

import numpy as np
import pytest
from drawing import contains, drawn

from card.figures import hardware as pictures
from card.figures.phones import for_phone
from card.hardware import load_profile
from card.hardware.profile import Ceilings

CEILINGS = Ceilings(peak_flops=2e11, memory_byte_per_s=2e10, repeats=7)
"""Ridge at 10 FLOP/byte."""


@pytest.fixture(scope="module")
def profile():
    return load_profile("profile", "cpu-epyc-2-cores")


def under(profile, ceilings):
    return profile.model_copy(update={"ceilings": ceilings})


def widths(axes):
    return [patch.get_width() for patch in axes.patches]


class TestPartTimes:
    def test_draws_every_pass_and_its_rate(self, profile):
        times, rates = pictures.part_times(profile).axes
        parts = [profile.parts[name] for name in pictures.NAMES]
        passes = [part.forward for part in parts]
        passes += [part.backward for part in parts if part.backward]
        assert widths(times) == pytest.approx([1e3 * spread.median_s for spread in passes])
        trained = [part for part in parts if part.flop]
        speeds = [p.forward_flop / p.forward.median_s / 1e9 for p in trained]
        speeds += [p.backward_flop / p.backward.median_s / 1e9 for p in trained]
        assert widths(rates) == pytest.approx(speeds)
        assert times.get_xlabel().endswith("[ms]")
        assert rates.get_xlabel().endswith("[GFLOP/s]")

    def test_whiskers_are_the_quartiles(self, profile):
        times = pictures.part_times(profile).axes[0]
        ends = np.concatenate([c.get_segments() for c in times.collections])[:, :, 0]
        quartiles = [
            (1e3 * spread.lower_s, 1e3 * spread.upper_s)
            for part in profile.parts.values()
            for spread in (part.forward, part.backward)
            if spread
        ]
        assert np.sort(ends, axis=0) == pytest.approx(np.sort(quartiles, axis=0))


class TestRoofline:
    def test_roof_is_the_lower_of_both_ceilings_and_bends_at_the_ridge(self, profile):
        (axes,) = pictures.roofline([under(profile, CEILINGS)]).axes
        intensity, roof = drawn(axes)[0].T
        assert roof == pytest.approx(np.minimum(200, 20 * intensity))
        assert intensity[0] < 10 < intensity[-1]

    def test_parts_stand_at_their_intensity_and_rate_of_each_machine(self, profile):
        gpu = load_profile("profile", "h200-llama-3.2-1b")
        figure = pictures.roofline([profile, gpu])
        for axes, one, size in zip(figure.axes, (profile, gpu), (1e9, 1e12), strict=True):
            for name in ("first_block", "block", "head"):
                part = one.parts[name]
                point = [part.intensity_flop_per_byte], [part.flop / part.time_s / size]
                assert contains(drawn(axes), *point)

    def test_a_legend_has_the_marks_on_phones_too(self, profile):
        figure = pictures.roofline([under(profile, CEILINGS)])
        for one in (figure, for_phone(figure)):
            marks = [handle.get_marker() for handle in one.axes[0].get_legend().legend_handles]
            assert marks == ["^", "o", "D"]

    def test_a_profile_without_ceilings_is_refused(self, profile):
        with pytest.raises(ValueError, match="has no ceilings"):
            pictures.roofline([under(profile, None)])

    def test_faster_quartiles_are_higher_rates(self, profile):
        middle, slow, fast = pictures.rate_flops(profile.parts["head"])
        assert slow < middle < fast

    def test_parts_without_counted_traffic_are_left_out(self, profile):
        bare = {n: p.model_copy(update={"moved_bit": None}) for n, p in profile.parts.items()}
        bare_profile = under(profile, CEILINGS).model_copy(update={"parts": bare})
        (axes,) = pictures.roofline([bare_profile]).axes
        assert [len(points) for points in drawn(axes)] == [200, 2]


class TestAlongUtilisation:
    def test_draws_each_quantity_per_state_and_marks_the_measured_machine(self):
        share = np.array([0.1, 1.0])
        row = {
            "cut": np.array([0, 16]),
            "frequency_hz": np.array([1e9, 2e9]),
            "delay_s": np.array([20.0, 10.0]),
            "energy_j": np.array([30.0, 0.0]),
        }
        point = {"cut": 0, "frequency_hz": 0.5e9, "delay_s": 25.0, "energy_j": 9.0}
        figure = pictures.along_utilisation(share, {"good": row}, 0.05, {"good": point})
        for axes, key, unit in zip(figure.axes, row, (1, 1e9, 1, 1), strict=True):
            assert contains(drawn(axes), share, row[key] / unit)
            assert contains(drawn(axes), [0.05], [point[key] / unit])
        labels = [axes.get_ylabel() for axes in figure.axes]
        assert labels == ["cut", "server clock [GHz]", "delay [s]", "server energy [J]"]
