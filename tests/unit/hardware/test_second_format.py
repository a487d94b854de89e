"""Profiles of format 2: what parts add to a step, a GPU's own time, several mini-batches, a law."""

import json
from copy import deepcopy

import pytest
from own_llms import own_llm
from typer.testing import CliRunner

import card
from card.cli import app
from card.costs import notes
from card.hardware import hardware, read_profile

WORK = {"embedding": 0, "first_block": 124, "block": 131, "head": 538}
"""GFLOP of each part, as Llama-3.2-1B has with 512 tokens."""
ABSENT = {"value": None, "reason": "not offered here"}


def spread(seconds):
    return {"median_s": seconds, "lower_s": seconds, "upper_s": seconds, "repeats": 9}


def reading(value):
    return {"value": value, "reason": "as measured"}


def part(name, alone_s=4.0, added_s=2.0, device_s=None, launched_s=None):
    one = {"forward": spread(alone_s / 4), "backward": spread(alone_s * 3 / 4)}
    one |= {"forward_flop": 10**9 * WORK[name], "backward_flop": 0, "saved_bit": 1}
    times = {"added_s": added_s, "device_s": device_s, "launched_s": launched_s}
    return one | {key: reading(s) if s else ABSENT for key, s in times.items()}


def timed(parts, **more):
    empty = {"smashed_bit": 1, "peak_memory_bit": ABSENT, "power_w": ABSENT, "energy_j": ABSENT}
    return {"parts": parts, "arrival_s": ABSENT, **empty, "whole_step": None, **more}


def on_processor(**more):
    return timed({name: part(name) for name in WORK}, **more)


def stored(folder, *, gpu=False, shape=(1, 512), **more):
    raw = {
        "format": "card-profile/2",
        "title": "A machine",
        "date": "2026-11-29",
        "hardware": None,
        "machine": {"processor": "A machine", "accelerator": gpu, "cores": 2, "memory_gb": 64.0,
                    "system": "Linux x86_64"},
        "software": {},
        "settings": {"llm": "llama-3.2-1b", "batch_size": shape[0], "sequence_length": shape[1],
                     "activation_bits": 32, "rank": 8, "targets": ["q_proj"], "quick": False},
        "adapter_bit": 1,
        "clock_hz": reading(1e9),
        "power_law": None,
        "idle_power_w": reading(50.0),
        **on_processor(),
        **more,
    }  # fmt: skip
    path = folder / "machine.json"
    path.write_text(json.dumps(raw), "utf-8")
    return path


def at(shape, **more):
    return {"batch_size": shape[0], "sequence_length": shape[1], **on_processor(), **more}


def loaded(path, **changes):
    return card.load_scenario("nominal", **{"devices.device-1.hardware": str(path)}, **changes)


ON_GPU = {
    "embedding": part("embedding", 0.5, 0.4, 0.1, 0.4),
    "first_block": part("first_block", 3.0, 2.0, 0.5, 1.9),
    "block": part("block", 3.0, 2.0, 0.5, 1.9),
    "head": part("head", 3.5, 3.1, 3.0, 0.5),
}
POWERED = {"gpu": True, "power_w": reading(100.0), "energy_j": reading(300.0)}
LAW = {
    "clocks_hz": [1e8, 5e8, 1e9], "powers_w": [1.0, 1.0, 1.0], "times_s": [1.0, 1.0, 1.0],
    "static_power_w": 5.0, "power_coefficient": 1e-26, "residuals_w": [0.0, 0.0, 0.0],
    "holds_from_hz": 1e8,
}  # fmt: skip


def test_a_part_takes_what_it_adds_to_a_step_and_its_time_alone_where_that_was_lost(tmp_path):
    parts = on_processor()["parts"]
    parts["head"]["added_s"] = {"value": None, "reason": "lost in noise"}
    found = read_profile(stored(tmp_path, parts=parts)).parts
    assert (found["block"].time_s, found["head"].time_s) == (2.0, 4.0)


def test_a_local_iteration_on_a_device_takes_the_sum_of_what_its_parts_add(tmp_path):
    path = stored(tmp_path)
    system = card.system(loaded(path))
    cuts, blocks = system.profile, 16
    for cut in (1, 5, blocks):
        found = card.evaluate(system, 0, cut, 2e9, 1e7, 1e7).device_compute_s
        parts = read_profile(path).parts
        fastest = parts["head"].flop / parts["head"].time_s
        beyond = [parts[name].time_s - parts[name].flop / fastest for name in WORK]
        own_s = cuts.device_flop[cut] / fastest + cuts.device_parts[cut] @ beyond
        assert found == pytest.approx(system.local_iterations * own_s)


def test_a_server_that_begins_inside_the_llm_pays_for_that_and_at_no_other_cut(tmp_path):
    more = {"power_w": reading(100.0)}
    bare, whole = (
        card.system(
            card.load_scenario("nominal", **{"server.hardware": str(stored(tmp_path, **one))})
        )
        for one in (more, {**more, "arrival_s": reading(0.25)})
    )
    extra = whole.server_overhead_s - bare.server_overhead_s
    assert extra == pytest.approx([0.0, *[0.25] * 15, 0.0])
    assert not whole.server_launch_s.any()


class TestGpu:
    """Blocks launch for 2 s and compute for 0.5 s; the head launches for 0.5 s of its 3 s."""

    def profile(self, folder, **more):
        return stored(folder, **timed(deepcopy(ON_GPU), **{**POWERED, **more}))

    def test_launches_are_those_measured_and_where_they_hold_a_part_up_its_time_in_a_step(
        self, tmp_path
    ):
        board = hardware("server.hardware", str(self.profile(tmp_path)))
        assert board.launch_s == {"embedding": 0.4, "first_block": 2, "block": 2, "head": 0.5}
        # the block runs at the highest rate
        tokens_s = {name: 512 * one for name, one in board.overhead_s_per_token.items()}
        assert tokens_s == pytest.approx(
            {
                "embedding": 0.1,
                "first_block": 0.5 * (1 - 124 / 131),
                "block": 0,
                "head": 3 - 0.5 * 538 / 131,
            }
        )

    def test_a_side_takes_the_longer_of_its_launches_and_its_work(self, tmp_path):
        settings = {"server.hardware": str(self.profile(tmp_path))}
        system = card.system(card.load_scenario("nominal", **settings))
        work_s = system.profile.server_flop / (system.flops_per_hz * system.frequency_max_hz)
        board = hardware("server.hardware", settings["server.hardware"])
        for cut in (0, 4, 15):
            own_s = work_s[cut] + 512 * board.overhead_s_per_token["head"]
            own_s += (cut == 0) * 512 * board.overhead_s_per_token["first_block"]
            launches_s = 2.0 * (16 - cut) + 0.5
            found_s = work_s[cut] + system.server_overhead_s[cut]
            assert found_s == pytest.approx(max(own_s, launches_s))
            assert system.server_launch_s[cut] == pytest.approx(max(launches_s - own_s, 0))

    def test_what_is_drawn_above_idle_belongs_to_the_time_in_which_the_gpu_works(self, tmp_path):
        # in 3 s at 100 W, of which 50 W are idle, 150 J are of 0.5 s
        assert read_profile(self.profile(tmp_path)).working_power_w == 50 + 150 / 0.5

    def test_a_gpu_without_its_own_time_is_read_as_before(self, tmp_path):
        parts = {name: part(name, 3.0, 2.0) for name in WORK}
        profile = read_profile(stored(tmp_path, gpu=True, parts=parts))
        assert set(profile.overhead_s_per_token.values()) == {0.0}
        assert profile.launch_s == dict.fromkeys(WORK, 2.0)

    def test_to_begin_inside_the_llm_is_launches(self, tmp_path):
        overhead = []
        for more in ({}, {"arrival_s": reading(0.25)}):
            path = self.profile(tmp_path, **more)
            system = card.system(card.load_scenario("nominal", **{"server.hardware": str(path)}))
            overhead.append((system.server_overhead_s[8], system.server_launch_s[8]))
        assert overhead[1] == pytest.approx([one + 0.25 for one in overhead[0]])


@pytest.mark.parametrize(
    ("shape", "taken"),
    [
        ((1, 512), (1, 512)),
        ((8, 512), (8, 512)),
        ((3, 512), (4, 256)),  # 1536 tokens: 1024 are nearer than 4096
        ((2, 512), (4, 256)),
        ((16, 64), (4, 256)),
        ((1, 64), (1, 512)),
        ((64, 512), (8, 512)),
    ],
)
def test_a_scenario_takes_its_own_mini_batch_or_the_nearest_by_tokens(tmp_path, shape, taken):
    path = stored(tmp_path, points=[at((8, 512)), at((4, 256))])
    board = hardware("devices.device-1.hardware", str(path)).at(*shape)
    assert (board.batch_size, board.sequence_length) == taken


def test_of_mini_batches_with_as_many_tokens_the_nearest_length_is_taken(tmp_path):
    path = stored(tmp_path, points=[at((4, 128)), at((2, 256))])
    assert hardware("hardware", str(path)).at(2, 256).sequence_length == 256
    assert hardware("hardware", str(path)).at(8, 64).sequence_length == 128


def test_each_mini_batch_has_its_own_rate_overhead_and_power(tmp_path):
    slow = {name: part(name, 40.0, 20.0) for name in WORK}
    more = {"parts": slow, "power_w": reading(70.0)}
    path = stored(tmp_path, points=[at((8, 512), **more)], power_w=reading(100.0))
    key = "devices.device-1.hardware"
    one, eight = (
        card.system(loaded(path, **{"server.hardware": str(path), "training.batch_size": size}))
        for size in (1, 8)
    )
    assert one.throughput_flops[0] == pytest.approx(10 * eight.throughput_flops[0])
    assert (one.device_power_w[0], eight.device_power_w[0]) == (100, 70)
    powers = [s.static_power_w + s.power_coefficient * s.frequency_max_hz**3 for s in (one, eight)]
    assert powers == pytest.approx([100, 70])
    assert hardware(key, str(path)).points[0].at(1, 1).batch_size == 8


def test_a_mini_batch_whose_power_was_not_read_has_that_of_the_first(tmp_path):
    path = stored(tmp_path, points=[at((8, 512))], power_w=reading(100.0))
    assert hardware("server.hardware", str(path)).at(8, 512).max_power_w == 100


def test_results_do_not_depend_on_what_a_profile_is_called(tmp_path):
    named = loaded(stored(tmp_path, points=[at((8, 512))])).content
    again = loaded(stored(tmp_path, points=[at((8, 512))], title="Renamed")).content
    assert named == again


def test_a_mini_batch_twice_is_damage(tmp_path):
    with pytest.raises(card.ScenarioError, match="a shape of mini-batch twice"):
        read_profile(stored(tmp_path, points=[at((1, 512))]))
    with pytest.raises(card.ScenarioError, match=r"points\.0 .*parts lacks block"):
        read_profile(stored(tmp_path, points=[{**at((2, 512)), "parts": {}}]))


def test_a_note_says_which_mini_batch_and_llm_stand_in(tmp_path):
    path = stored(tmp_path, points=[at((8, 512))])
    assert notes(loaded(path)) == notes(card.load_scenario("nominal")) == []
    other = loaded(path, **{"training.batch_size": 2, "llm": "tiny-llama-8m"})
    assert notes(other) == [
        f"{path} was not measured with tiny-llama-8m and mini-batches of 2 x 512 tokens; its times "
        f"with llama-3.2-1b and mini-batches of 1 x 512 tokens are used, per token."
    ]


def test_a_note_says_that_a_second_forward_pass_was_not_measured():
    study = card.load_scenario("measured-server", **{"training.gradient_checkpointing": True})
    told = (
        f"{study.server.hardware} was measured without gradient checkpointing; of the second "
        f"forward pass its work alone is counted, no launches."
    )
    assert told in notes(study)
    assert told not in notes(card.load_scenario("measured-server"))


def test_a_note_knows_an_own_llm_by_its_title_wherever_its_file_lies(tmp_path):
    file, path = own_llm(tmp_path / "mine.json"), stored(tmp_path)
    assert notes(loaded(path, llm=str(file)))[0].startswith(
        f"{path} was not measured with mine and"
    )
    settings = {**json.loads(path.read_text("utf-8"))["settings"], "llm": "mine"}
    assert notes(loaded(stored(tmp_path, settings=settings), llm=str(file))) == []


@pytest.mark.parametrize("command", [["show"], ["costs"], ["solve", "--device", "device-2"]])
def test_every_command_that_uses_a_profile_for_what_it_was_not_measured_says_so(tmp_path, command):
    name, *rest = command
    rates = ["--uplink-bps", "2e7", "--downlink-bps", "6e7"] if name == "solve" else []
    for batch, said in ((1, 0), (3, 1)):
        settings = [f"devices.device-1.hardware={stored(tmp_path)}", f"training.batch_size={batch}"]
        given = [word for one in settings for word in ("--set", one)]
        result = CliRunner().invoke(app, [name, "nominal", *rest, *rates, *given, "--json"])
        assert result.exit_code == 0, result.stderr
        assert result.stderr.count("Note: ") == said
        found = json.loads(result.stdout)
        if name == "solve":
            assert [f"Note: {one}" for one in found["notes"]] == result.stderr.splitlines()


class TestLaw:
    def system(self, folder, linear, **changes):
        law = {**LAW, "linear_power_w_per_hz": linear}
        path = stored(folder, power_law=law, power_w=reading(100.0))
        settings = {"server.hardware": str(path), **changes}
        return card.system(card.load_scenario("nominal", **settings))

    def test_a_scenario_without_a_linear_power_takes_that_of_the_profile(self, tmp_path):
        system = self.system(tmp_path, 3e-8)
        assert system.linear_power_w_per_hz == 3e-8
        top = system.frequency_max_hz
        assert 3e-8 * top + system.power_coefficient * top**3 == pytest.approx(100)

    def test_a_note_says_that_the_law_of_the_profile_stands_in(self, tmp_path):
        path = stored(
            tmp_path, power_law={**LAW, "linear_power_w_per_hz": 3e-8}, power_w=reading(100.0)
        )
        told = f"server.linear_power_w_per_hz is 3e-08 W/Hz, by the law of {path}."
        for linear, said in ((0, [told]), (1e-8, [])):
            changes = {"server.hardware": str(path), "server.linear_power_w_per_hz": linear}
            assert notes(card.load_scenario("nominal", **changes)) == said

    def test_one_that_is_given_counts_and_a_law_of_format_1_has_none(self, tmp_path):
        given = self.system(tmp_path, 3e-8, **{"server.linear_power_w_per_hz": 1e-8})
        assert given.linear_power_w_per_hz == 1e-8
        path = stored(tmp_path, power_law=LAW)
        assert read_profile(path).power_law.linear_power_w_per_hz == 0

    def test_one_that_leaves_nothing_to_the_cube_is_refused_in_words(self, tmp_path):
        with pytest.raises(card.ScenarioError, match="which draws 100 W at 1e\\+09 Hz; give less"):
            self.system(tmp_path, 1.1e-7)
