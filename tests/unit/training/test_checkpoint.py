"""A checkpoint is read as it was written, or not at all, whatever happened to writer and disk."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from card.training import checkpoint
from card.training.checkpoint import CheckpointError, latest, read, save

ROOT = Path(checkpoint.__file__).parents[2]
FILES = ["adapters.safetensors", "state.json", "manifest.json"]


def adapters(round):
    generator = torch.Generator().manual_seed(round)
    return {
        "block.0.q_proj.lora_A": torch.randn(4, 8, generator=generator),
        "block.0.q_proj.lora_B": torch.randn(8, 4, generator=generator, dtype=torch.bfloat16),
    }


def state(round):
    return {"turns": {"device-1": round}, "loss": [0.1, 1e-300, 3.0], "device": None}


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of rounds 11 and 12."""
    for round in (11, 12):
        save(tmp_path / "run", round, adapters(round), state(round))
    return tmp_path / "run"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def same(found, round):
    wanted = adapters(round)
    return (
        (found.round, found.state) == (round, state(round))
        and found.adapters.keys() == wanted.keys()
        and all(torch.equal(found.adapters[name], wanted[name]) for name in wanted)
    )


class TestSaving:
    def test_is_read_back_bit_for_bit(self, tmp_path):
        path = save(tmp_path, 0, adapters(0), state(0))
        assert path == tmp_path / "round-000000"
        assert same(read(path), 0)
        assert latest(tmp_path).path == path

    def test_holds_rounds_without_adapters(self, tmp_path):
        found = read(save(tmp_path, 3, {}, {}))
        assert (found.adapters, found.state) == ({}, {})

    def test_keeps_the_two_newest(self, folder):
        save(folder, 13, adapters(13), state(13))
        assert names(folder) == ["round-000012", "round-000013"]

    def test_knows_the_newest_by_number(self, tmp_path):
        for round in (999_999, 1_000_000):
            save(tmp_path, round, adapters(round), state(round))
        assert latest(tmp_path).round == 1_000_000

    def test_of_an_earlier_round_ends_the_course_that_was_left(self, folder):
        save(folder, 13, adapters(13), state(13))
        save(folder, 12, adapters(5), state(5))
        assert names(folder) == ["round-000012"]
        assert latest(folder).state == state(5)

    def test_again_replaces(self, folder):
        save(folder, 12, adapters(5), state(5))
        assert names(folder) == ["round-000011", "round-000012"]
        assert latest(folder).state == state(5)

    def test_sweeps_what_a_killed_writer_left(self, folder):
        (folder / ".unfinished-x").mkdir()
        (folder / ".unfinished-x" / "state.json").write_text("{")
        assert latest(folder).round == 12
        save(folder, 13, adapters(13), state(13))
        assert names(folder) == ["round-000012", "round-000013"]

    def test_of_what_is_not_json_is_refused_and_leaves_no_trace(self, folder):
        before = names(folder)
        with pytest.raises(CheckpointError, match="state of round 13 cannot be saved"):
            save(folder, 13, adapters(13), {"tensor": torch.ones(1)})
        assert names(folder) == before

    def test_on_a_full_disk_leaves_no_trace(self, folder, little_room):
        before = sorted(folder.rglob("*"))
        with pytest.raises(CheckpointError, match=r"round-000013 cannot be written .File too"):
            save(folder, 13, adapters(13), {"long": "x" * 1000})
        assert sorted(folder.rglob("*")) == before

    def test_where_nothing_can_be_written_says_so(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(CheckpointError, match="round-000000 cannot be written"):
            save(tmp_path / "file", 0, {}, {})


class TestLatest:
    def test_is_none_without_any(self, tmp_path):
        assert latest(tmp_path) is None
        assert latest(tmp_path / "nowhere") is None

    def test_ignores_other_things(self, folder):
        (folder / "round-x").mkdir()
        (folder / "notes.txt").write_text("")
        assert same(latest(folder), 12)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def extend(path):
    path.write_bytes(path.read_bytes() + b" ")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def garbage(path):
    path.write_bytes(bytes(range(256)))


def rewrite(**changes):
    def damage(path):
        found = json.loads(path.read_text())
        path.write_text(json.dumps(found | changes, indent=1, sort_keys=True))

    return damage


ENTRY = {"bytes": "1", "sha256": 1}
DAMAGE = [
    ("adapters.safetensors", truncate, "adapters.safetensors is truncated"),
    ("adapters.safetensors", empty, "adapters.safetensors is truncated, 0 of"),
    ("adapters.safetensors", extend, "adapters.safetensors has changed"),
    ("adapters.safetensors", flip, "adapters.safetensors has changed"),
    ("adapters.safetensors", Path.unlink, "adapters.safetensors is missing"),
    ("state.json", truncate, "state.json is truncated"),
    ("state.json", flip, "state.json has changed"),
    ("state.json", garbage, "state.json has changed"),
    ("state.json", Path.unlink, "state.json is missing"),
    ("manifest.json", truncate, "manifest.json has changed"),
    ("manifest.json", empty, "manifest.json has changed"),
    ("manifest.json", extend, "manifest.json has changed"),
    ("manifest.json", garbage, "manifest.json has changed"),
    ("manifest.json", Path.unlink, "manifest.json is missing"),
    ("manifest.json", rewrite(version=2), "has version 2, and this program reads 1"),
    ("manifest.json", rewrite(round=13), "has the manifest.json of round 13"),
    ("manifest.json", rewrite(files={}), "manifest.json has changed"),
    ("manifest.json", rewrite(files=dict.fromkeys(FILES[:2], ENTRY)), "manifest.json has changed"),
    ("manifest.json", rewrite(more=1), "manifest.json has changed"),
    ("manifest.json", lambda path: path.write_text("[" * 10**5), "manifest.json has changed"),
]


class TestDamage:
    @pytest.mark.parametrize(("name", "damage", "said"), DAMAGE)
    def test_is_named_with_the_checkpoint_that_is_whole(self, folder, name, damage, said):
        damage(folder / "round-000012" / name)
        remedy = "; resume from round-000011 with --resume round-000011."
        with pytest.raises(CheckpointError) as refused:
            latest(folder)
        assert said in str(refused.value)
        assert str(refused.value).startswith(str(folder / "round-000012"))
        assert str(refused.value).endswith(remedy)
        assert same(read(folder / "round-000011"), 11)

    @pytest.mark.parametrize("name", FILES)
    def test_of_any_byte_is_noticed(self, folder, name):
        path = folder / "round-000012" / name
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
            with pytest.raises(CheckpointError):
                checkpoint._read(path.parent)
        path.write_bytes(whole)
        assert same(latest(folder), 12)

    def test_at_random_places_is_never_read_as_something_else(self, folder):
        draw, newest = random.Random(0), folder / "round-000012"
        for _ in range(200):
            path = newest / draw.choice(FILES)
            whole = path.read_bytes()
            data = bytearray(whole)
            if draw.random() < 0.3:
                del data[draw.randrange(len(data)) :]
            else:
                for place in draw.sample(range(len(data)), draw.randint(1, 4)):
                    data[place] ^= draw.randrange(1, 256)
            path.write_bytes(data)
            with pytest.raises(CheckpointError, match="resume from round-000011"):
                latest(folder)
            path.write_bytes(whole)
        assert same(latest(folder), 12)

    def test_by_swapped_manifests_is_noticed(self, folder):
        shutil.copy(folder / "round-000011" / "manifest.json", folder / "round-000012")
        with pytest.raises(CheckpointError, match=r"has the manifest\.json of round 11"):
            latest(folder)

    def test_by_swapped_adapters_is_noticed(self, folder):
        shutil.copy(folder / "round-000011" / "adapters.safetensors", folder / "round-000012")
        with pytest.raises(CheckpointError, match=r"adapters\.safetensors has changed"):
            latest(folder)

    def test_by_another_name_is_noticed(self, folder):
        (folder / "round-000012").rename(folder / "round-000020")
        with pytest.raises(
            CheckpointError, match=r"manifest\.json of round 12; resume from round-"
        ):
            latest(folder)

    def test_of_all_leaves_only_a_new_start(self, folder):
        for path in folder.glob("round-*/state.json"):
            path.unlink()
        with pytest.raises(CheckpointError, match="no whole checkpoint is left, so start anew"):
            latest(folder)

    @pytest.mark.parametrize("name", ["round-000099", "round-12", "notes", ""])
    def test_is_told_from_a_name_of_none(self, folder, name):
        with pytest.raises(CheckpointError, match="is not a checkpoint"):
            read(folder / name)

    def test_does_not_stop_the_next_round(self, folder):
        flip(folder / "round-000012" / "state.json")
        save(folder, 12, adapters(12), state(12))
        assert same(latest(folder), 12)


# Kills a writer before each thing that it asks of the system, one after the other, and looks at
# what is left; a forked writer dies as one by itself does, without importing torch anew each time.
KILLED = """
import os, shutil, signal, sys
from itertools import count
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from test_checkpoint import adapters, latest, names, read, same, save, state

work = Path(sys.argv[2])
before, round = [int(text) for text in sys.argv[3].split(",") if text], int(sys.argv[4])
fsync = os.fsync

def writer(deadly):
    steps = count()

    def step(event, arguments=()):
        if event.split(".")[0] in ("open", "os", "shutil", "tempfile") and next(steps) == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = lambda file: (step("os.fsync"), fsync(file))
    sys.addaudithook(step)
    save(work, round, adapters(round), state(round))
    os._exit(0)

for deadly in count():
    shutil.rmtree(work, ignore_errors=True)
    for other in before:
        save(work, other, adapters(other), state(other))
    child = os.fork()
    if not child:
        writer(deadly)
    killed = os.waitpid(child, 0)[1] == signal.SIGKILL
    found = latest(work)
    earlier = [other for other in before if other < round]
    assert same(found, found.round) if found else not earlier, deadly
    assert killed or found.round == round
    if earlier:
        assert same(read(work / f"round-{earlier[-1]:06d}"), earlier[-1]), deadly
    save(work, round, adapters(round), state(round))
    assert names(work) == [f"round-{kept:06d}" for kept in (*earlier, round)[-2:]]
    if not killed:
        print(deadly)
        break
"""


class TestKilledWriter:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("before", "round"),
        [("", 0), ("11", 12), ("10,11", 12), ("11,12", 12), ("11,13", 12)],
        ids=["first", "second", "with one to drop", "again", "after going back"],
    )
    def test_leaves_the_earlier_checkpoint_whole_and_never_half_a_new_one(
        self, tmp_path, before, round
    ):
        arguments = [str(Path(__file__).parent), str(tmp_path / "run"), before, str(round)]
        command = [sys.executable, "-c", KILLED, *arguments]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        # five calls of fsync, three files, a directory and its renaming at the very least
        assert int(result.stdout) >= 10
