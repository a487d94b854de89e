"""The clock that is decided for a round is carried out: real rounds on loopback last as it says."""

import operator
import sys

import pytest
import torch
from commands import refusal, run
from conversation import conversation
from fake_nvml import UUID, fake_nvml, locks

import card
from card.training.actuation import Machine, leave, locking, pace
from card.training.gpu import Gpu
from card.training.journal import read_journal
from card.training.rehearsal import TEXTS

CUT = 2
SLOWER = {"devices.*.utilisation": 1e-5}
"""Devices so slow that any of the server's clocks may be decided."""

LATE_S = 0.1
"""What a busy machine adds to the last pause; the others' late ends are taken off the next."""

OWN = """
import numpy as np


def mine(system, draws, rng):
    return np.full(draws.device.shape, {cut}), system.frequency_max_hz * {share}

"""


def played(folder, share, carry_out, rounds=2, **changes):
    """Completed rounds of a run at a share of the highest clock."""
    folder.mkdir()
    own, scenario = folder / "own.py", card.load_scenario("test-bed", **SLOWER, **changes)
    own.write_text(OWN.format(cut=changes.pop("cut", CUT), share=share), "utf-8")
    log, _, _ = conversation(
        scenario, folder / "run", ["device-1"],
        rounds=rounds, policy=f"{own}:mine", machine=Machine(carry_out=carry_out),
    )  # fmt: skip
    return log.named("round")


def is_paced(found):
    """Whether the pauses of a round are as long as its clock asks for, but for other processes.

    What is paced lies within what is timed, and these take their turns in between.
    """
    computing_s = found["server_compute_s"] - found["server_paused_s"]
    asked_s = (found["stretch"] - 1) * computing_s
    return 0.5 * asked_s <= found["server_paused_s"] < asked_s + LATE_S


@pytest.mark.parametrize("share", [1.0, 0.5, 0.25])
def test_paced_computing_lasts_as_long_as_at_the_clock(share, tmp_path):
    for found in played(tmp_path / "run", share, pace):
        assert found["stretch"] == pytest.approx(1 / share)
        assert is_paced(found)
        assert found["delay_s"] > found["server_compute_s"] + found["device_compute_s"]
        assert found["set_clock_hz"] is None


def test_what_no_clock_changes_is_not_paced(tmp_path):
    """With an overhead as long as the cycles at F_max, half the clock takes half as long again."""
    scenario = card.load_scenario("test-bed", **SLOWER)
    top_hz = card.system(scenario).frequency_max_hz
    cycles_s = float(card.evaluate(scenario, 0, CUT, top_hz, 1e6, 1e6).server_compute_s)
    each_s = cycles_s / scenario.training.local_iterations / (4 - CUT)
    changes = {"server.block_overhead_s": each_s}
    for found in played(tmp_path / "run", 0.5, pace, **changes):
        assert found["stretch"] == pytest.approx(1.5)
        assert is_paced(found)


def test_a_clock_that_is_only_noted_changes_no_time(tmp_path):
    for found in played(tmp_path / "run", 0.25, leave):
        assert found["stretch"] == pytest.approx(4)
        assert found["server_paused_s"] == 0


def test_a_round_without_the_server_has_nothing_to_pace(tmp_path):
    scenario = card.load_scenario("test-bed")
    log, _, _ = conversation(
        scenario, tmp_path, ["device-1"], rounds=1, cuts=(4,), machine=Machine(carry_out=pace)
    )
    (found,) = log.named("round")
    assert (found["stretch"], found["server_compute_s"], found["server_paused_s"]) == (1, 0, 0)


def test_every_round_locks_its_clock_and_releases_it(tmp_path, monkeypatch):
    """Against a stand-in for NVML: what a GPU then does is not seen here."""
    nvml = fake_nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    for found in played(tmp_path / "run", 0.5, locking(Gpu(UUID)), rounds=2):
        assert found["frequency_hz"] == pytest.approx(1.2675e9)
        assert found["set_clock_hz"] == 1500e6  # the nearest that the stand-in offers
        assert found["server_paused_s"] == 0
    assert locks(nvml) == [("lock", 1500, 1500), ("release",)] * 2


@pytest.mark.slow
@pytest.mark.alone
def test_measured_delay_follows_the_clock(tmp_path):
    """Server time goes as F_max/f, and nothing else of a round grows by what the server waits.

    Held within each round, for a processor that rested computes more slowly for a while.
    """
    drawn = "rng.choice([1.0, 0.5, 0.2])"
    brief = {"training.local_iterations": 2}
    rounds = played(tmp_path / "run", drawn, pace, rounds=60, **brief)
    shares = [1 / round(found["stretch"], 6) for found in rounds]
    assert set(shares) == {1.0, 0.5, 0.2}

    def least(time_s):
        """By share: other processes only ever add, and hardly to all of twenty short rounds."""
        both = list(zip(shares, map(time_s, rounds), strict=True))
        return {share: min(s for other, s in both if other == share) for share in set(shares)}

    stretched = least(
        lambda found: (
            found["server_compute_s"] / (found["server_compute_s"] - found["server_paused_s"])
        )
    )
    messages_s = least(
        lambda found: found["delay_s"] - found["server_compute_s"] - found["device_compute_s"]
    )
    paused_s = least(operator.itemgetter("server_paused_s"))
    print({share: (stretched[share], messages_s[share], paused_s[share]) for share in stretched})
    for share, found in stretched.items():
        assert found == pytest.approx(1 / share, rel=0.2)
        assert messages_s[share] <= messages_s[1.0] + 0.5 * paused_s[share]


class TestCommands:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--actuate", "brake"], "--actuate = 'brake' is not allowed; give one of none, pace,"),
            (["--actuate", "clock"], "sets a GPU's clock; add --compute cuda, or give --actuate"),
            (["--compute", "cuda"], "torch finds no NVIDIA GPU here; give --compute cpu"),
        ],
    )
    def test_server_refuses_what_is_not_here(self, arguments, message, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert message in refusal("serve", "test-bed", "--folder", tmp_path / "run", *arguments)

    def test_device_refuses_a_gpu_that_is_not_here(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        chosen = ["--device", "device-1", "--data", TEXTS["device-1"], "--compute", "cuda"]
        assert "torch finds no NVIDIA GPU here" in refusal("join", "test-bed", *chosen)

    @pytest.mark.parametrize(
        ("how", "said"),
        [("none", "clocks are decided and noted, not set"), ("pace", "computing is paced to")],
    )
    def test_server_says_what_is_done_about_clocks_and_energy(self, how, said, tmp_path):
        result = run(
            "serve", "test-bed", "--folder", tmp_path, "--address", "127.0.0.1:0",
            "--patience", "0.1", "--actuate", how,
        )  # fmt: skip
        lines = result.stderr.splitlines()
        assert lines[0].startswith(said)
        assert "; energy is " in lines[0]
        (noted,) = (e for e in read_journal(tmp_path / "metrics.jsonl") if e["event"] == "machine")
        assert (noted["actuate"], noted["compute"]) == (how, "cpu")
        assert noted["energy"]
