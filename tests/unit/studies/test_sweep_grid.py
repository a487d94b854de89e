"""`card.studies.sweep_grid`: what a grid refuses before anything runs, and its blocks."""

import numpy as np
import pytest
from own_llms import own_llm

import card
from card.base.errors import ScenarioError
from card.base.yaml_files import label
from card.simulation import UNITS
from card.studies.sweep_axes import axes
from card.studies.sweep_grid import BLOCK_BYTES, POINTS, Grid
from card.studies.sweep_values import coordinate

NOMINAL = card.load_scenario("nominal")
WEIGHT, BANDWIDTH = "objective.delay_weight", "link.bandwidth_hz"


def grid(over, policies=("card",), rounds=1):
    return Grid.checked(NOMINAL, over, policies, rounds)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({}, "over = {} is not allowed; give values per path"),
        ([WEIGHT], "over = ['objective.delay_weight'] is not allowed; give values per path"),
        ({WEIGHT: []}, "over.objective.delay_weight = [] is not allowed; give a list of values"),
        ({WEIGHT: 0.5}, "over.objective.delay_weight = 0.5 is not allowed; give a list of values"),
        ({"llm": "gpt-2"}, "over.llm = 'gpt-2' is not allowed; give a list of values"),
        ({WEIGHT: {"low": 0}}, "is not allowed; give a list of values, e.g. [1, 2]"),
        ({WEIGHT: [0.5, 0.2, 0.5]}, "over.objective.delay_weight: 0.5 is given twice"),
        ({BANDWIDTH: [1e7, 10_000_000]}, "over.link.bandwidth_hz: 10000000 is given twice"),
        ({"server.clocks_hz": [[1e9], [1_000_000_000]]}, "[1000000000] is given twice"),
        ({"objective": [NOMINAL.objective]}, "over.objective: Objective(delay_we"),
        ({WEIGHT: [max]}, f"over.{WEIGHT}: <built-in function max> is not allowed; give numbers,"),
        ({WEIGHT: [[0.2, np.arange(2)]]}, f"over.{WEIGHT}: [0.2, array([0, 1])] is not allowed; "),
        ({"title": ["a", "b"]}, "over.title is not allowed; sweep a value of the model"),
        (
            {"lora.targets": [{"q_proj"}]},
            "over.lora.targets = {'q_proj'} is not allowed; give a list, whose items have an order",
        ),
        (
            {"objective": [{"delay_weight": 0.1}, {"delay_weight": 0.2}]},
            "over.objective is not allowed, since a result is called so; sweep keys below it: "
            "objective.delay_weight, objective.energy_budget_j, ",
        ),
        ({"sources.llm": [1]}, "over.sources.llm is not allowed; sweep a value of the model"),
        (
            {"link": [{"bandwidth_hz": 1e6}], BANDWIDTH: [1e6]},
            "over: link.bandwidth_hz is a part of link; sweep one of them",
        ),
        (
            {BANDWIDTH: [1e6, -1.0]},
            "over.link.bandwidth_hz, value -1.0: link.bandwidth_hz = -1.0 is not allowed; "
            "give a number from 1000 to 1e+15.",
        ),
        (
            {"channel_states.foggy.path_loss_exponent": [3.0]},
            "channel_states are then good, normal, poor, foggy; all points need the same, "
            "good, normal, poor. Compare two studies instead.",
        ),
        (
            {"devices.device-1": [None, {"distance_m": 10}]},
            "over.devices.device-1, value null: devices are then device-2, device-3",
        ),
        (
            {"training.cut_range": [[0, 16]], "llm": ["gpt-2", "llama-3.2-1b"]},
            "over, at training.cut_range = [0, 16], llm = gpt-2: lora.targets = 'q_proj' is no",
        ),
        (
            {"llm": ["llama-3.2-1b", "llama-3.1-8b"], "training.cut_range": [[16, 16], [0, 16]]},
            "over.llm, value llama-3.1-8b: server.hardware = 'rtx-4060-ti': what a cut leaves to",
        ),
    ],
)  # fmt: skip
def test_what_no_grid_can_hold_is_refused(over, message):
    with pytest.raises(ScenarioError) as refusal:
        grid(over)
    assert message in str(refusal.value)


@pytest.mark.parametrize("path", sorted({*UNITS} & {*type(NOMINAL).model_fields}))
def test_no_part_is_swept_that_has_the_name_of_a_result(path):
    with pytest.raises(ScenarioError, match=rf"^over\.{path} is not allowed, since a result is "):
        grid({path: [getattr(NOMINAL, path).model_dump()]})


def test_more_values_than_can_be_tried_are_refused_before_any_is():
    weights = [i / 90_000 for i in range(90_000)]
    with pytest.raises(ScenarioError) as refusal:
        grid({WEIGHT: weights})
    assert str(refusal.value) == (
        "over has 90,000 values, which is not allowed; give at most 10,000, or sweep them in parts."
    )


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ("card", "policies = 'card' is not allowed; give a list of names"),
        ([], "policies = [] is not allowed"),
        (["card", "crad"], "policies = 'crad' is unknown; did you mean 'card'?"),
        (["card", "card"], "policies: card is given twice"),
    ],
)
def test_policies_are_a_list_of_known_names(policies, message):
    with pytest.raises(ScenarioError) as refusal:
        grid({WEIGHT: [0.5]}, policies)
    assert message in str(refusal.value)


def test_values_that_contradict_each_other_inside_the_grid_name_the_point():
    """Each value has been tried with the others at their first; this pair meets only inside."""
    over = {
        "server.minimum_frequency_hz": [0.0, 2e9],
        "server.hardware": ["rtx-4060-ti", "a100-sxm-80gb"],
    }
    inner = grid(over)
    with pytest.raises(
        ScenarioError,
        match=r"at server\.minimum_frequency_hz = 2000000000\.0, server\.hardware = a",
    ):
        inner.compute((slice(0, 2), slice(0, 2)))


@pytest.mark.parametrize("sizes", [(1,), (7,), (3, 5, 2), (40, 41), (700, 300)])
def test_blocks_cover_the_grid_once_in_runs_of_bounded_size(sizes):
    paths = (BANDWIDTH, "link.shadowing_db", "link.reference_loss_db")
    over = {path: list(range(1, size + 1)) for path, size in zip(paths, sizes, strict=False)}
    whole = Grid(NOMINAL, over, ("card",), 1, 0)  # unchecked: a million points cost nothing here
    numbers = np.arange(np.prod(sizes)).reshape(sizes)
    parts = [numbers[block].ravel() for block in whole.blocks()]
    assert np.array_equal(np.sort(np.concatenate(parts)), numbers.ravel())
    assert max(map(len, parts)) <= POINTS
    assert max(map(len, parts)) == np.prod(whole.block_shape)


def test_a_block_of_many_devices_is_no_larger_in_bytes():
    devices = [
        {
            "name": f"d{i}",
            "hardware": "jetson-agx-orin-64gb",
            "utilisation": 1.0,
            "distance_m": 50.0,
        }
        for i in range(1000)
    ]
    crowd = NOMINAL.updated({"devices": devices})
    weights = np.linspace(0, 1, 40_000).tolist()
    whole = Grid(crowd, {WEIGHT: weights}, ("card", "device_only"), 1, 0)
    cells = np.prod(whole.block_shape) * 2 * 3 * 1000
    assert 8 * len(UNITS) * cells <= BLOCK_BYTES
    assert whole.block_shape[0] < POINTS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([0, None], "[0, null]"),
        (["q_proj", "v_proj"], "[q_proj, v_proj]"),
        ({"bandwidth_hz": 1e6}, "{bandwidth_hz: 1000000.0}"),
        (None, "null"),
        ("vanilla", "vanilla"),
        (0.5, "0.5"),
    ],
)
def test_a_label_is_what_a_study_file_says(value, text):
    assert label(value) == text


def test_a_grid_of_too_many_points_is_refused_with_their_number():
    over = {"objective.delay_weight": [i / 2000 for i in range(2000)]}
    over["link.bandwidth_hz"] = [1e6 + i for i in range(501)]
    with pytest.raises(ScenarioError) as refusal:
        Grid.checked(card.load_scenario("nominal"), over, ["card"])
    assert str(refusal.value) == (
        "over has 2000 x 501 = 1002000 points, which is not allowed; give at most 1000000, or "
        "sweep them in parts."
    )


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([["tr/a.csv"], ["tr/b.csv", "c.csv"]], ["[a.csv]", "[b.csv, c.csv]"]),
        ([{"trace": ["tr/a.csv"]}, None], ["{trace: [a.csv]}", "null"]),
        (["own/x.yml", "jetson-nano"], ["x.yml", "jetson-nano"]),
        ([["a/x.csv"], ["b/x.csv"]], ["[a/x.csv]", "[b/x.csv]"]),
    ],
)
def test_files_go_by_their_names_at_any_depth_of_a_value(values, shown):
    assert coordinate(values) == shown


def test_llms_along_a_path_are_known_by_content(tmp_path):
    def of(*files):
        return grid({"llm": list(map(str, files))})

    eight, nine = (own_llm(tmp_path / f"{n}.json", num_hidden_layers=n) for n in (8, 9))
    before = of(eight, nine)
    means = before.compute((slice(0, 2),))
    assert before.dataset(means)["llm"].values.tolist() == ["8.json", "9.json"]
    assert of(eight.rename(tmp_path / "eight.json"), nine).content == before.content
    own_llm(nine, num_hidden_layers=10)
    assert of(tmp_path / "eight.json", nine).content != before.content
    own_llm(tmp_path / "8.json", num_hidden_layers=4)
    # a file that changes meanwhile is what it was
    assert (before.compute((slice(0, 2),))["delay_s"] == means["delay_s"]).all()


class TestEveryDevice:
    OVER = {"devices.*.distance_m": [20.0, 50.0], "devices.*.hardware": ["jetson-nano"]}  # noqa: RUF012

    @pytest.mark.parametrize("ending", ["nc", "zarr"])
    def test_a_value_of_every_device_is_swept_and_kept_with_its_unit(self, tmp_path, ending):
        pytest.importorskip("netCDF4" if ending == "nc" else "zarr")
        nominal = card.load_scenario("nominal")
        small = {"llm": "tiny-llama-8m", "training.sequence_length": 64}
        base = nominal.updated(small)
        kept = card.sweep(base, self.OVER, ["card"], 2, output=tmp_path / f"kept.{ending}")
        for distance in (20.0, 50.0):
            at = {path: values[0] for path, values in self.OVER.items()}
            point = base.updated({**at, "devices.*.distance_m": distance})
            alone = card.simulate(point, ["card"], 2).delay_s.mean("round").values
            found = kept.delay_s.sel({"devices.*.distance_m": distance}).values
            assert np.array_equal(found.reshape(alone.shape), alone)
        assert kept["devices.*.distance_m"].attrs["units"] == "m"
        assert axes(kept)["devices.*.distance_m"].title == "distance [m]"

    def test_a_value_of_every_device_and_of_one_are_one_value(self):
        over = {"devices.*.distance_m": [20.0], "devices.device-2.distance_m": [50.0]}
        with pytest.raises(ScenarioError, match=r"over: .* is a part of .*; sweep one of them\."):
            Grid.checked(card.load_scenario("nominal"), over, ["card"])
