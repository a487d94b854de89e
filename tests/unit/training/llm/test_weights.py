"""`card.training.llm.weights`: each end reads or draws its own part, and proves the whole."""

import json
import os
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import numpy as np
from families import narrow, targets
from narrow_llm import BLOCKS, config, lora
from safetensors.torch import load_file, save_file

from card.base.errors import ScenarioError
from card.training.llm import weights
from card.training.llm.holding import Part
from card.training.llm.models import drawn, plain_model, seeded_model
from card.training.llm.split import AdaptedLlm, SplitError
from card.training.llm.weights import Drawn, Stored

NAME = "llama-3.2-1b"
NF4 = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_quant_storage": "uint8",
}
DEVICE = Part(0, 1, True, False)
SERVER = Part(1, BLOCKS, False, True, all_adapters=True)


@pytest.fixture
def sharded(tmp_path, monkeypatch):
    """A checkpoint in many shards, and a user's own cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "llm"
    seeded_model(config(NAME), torch.float32, seed=5).save_pretrained(folder, max_shard_size="30KB")
    assert len(list(folder.glob("*.safetensors"))) > BLOCKS
    return folder


@pytest.fixture
def read(monkeypatch):
    """Names of the tensors that are read."""
    names = []
    tensors = Stored.tensors

    def noted(self, wanted):
        names.extend(wanted)
        return tensors(self, wanted)

    monkeypatch.setattr(Stored, "tensors", noted)
    return names


def load(folder, part=None, dtype=torch.float32):
    return AdaptedLlm.load(folder, lora(NAME, torch.float32), dtype, part=part)


def index_of(folder):
    file = folder / "model.safetensors.index.json"
    return file, json.loads(file.read_text())


class TestOwnPart:
    @pytest.mark.parametrize("part", [DEVICE, SERVER])
    def test_no_other_tensor_is_read(self, part, sharded, read):
        llm = load(sharded, part)
        own = {f"model.layers.{block}." for block in range(part.first, part.last)}
        assert {name for name in read if "layers" in name} == {
            name for name in index_of(sharded)[1]["weight_map"] if name.startswith(tuple(own))
        }
        outside = {name for name in read if "layers" not in name}
        shared = {"model.embed_tokens.weight"}  # the head's weights too
        assert outside == shared | ({"model.norm.weight"} if part.head else set())
        assert not any(weight.is_meta for weight in llm.model.parameters())

    def test_adapters_between_rounds_are_the_servers(self, sharded):
        device, server, whole = load(sharded, DEVICE), load(sharded, SERVER), load(sharded)
        assert server.adapters(0, BLOCKS).keys() == whole.adapters(0, BLOCKS).keys()
        assert device.adapters(0, 1).keys() == whole.adapters(0, 1).keys()
        with pytest.raises(SplitError, match="block 1 is not held here"):
            device.adapters(0, 2)
        with pytest.raises(SplitError, match="block 0 is not held here"):
            server.run(torch.zeros(1, 4, 48), 0, 1, server.context(1, 4))
        with pytest.raises(SplitError, match="the embedding is not held here"):
            server.embed(torch.zeros(1, 4, dtype=torch.int64))

    def test_parts_prove_the_llm_that_they_are_of(self, sharded, tmp_path):
        one = load(sharded, DEVICE).fingerprint()
        assert one == load(sharded, SERVER).fingerprint() == load(sharded).fingerprint()
        whole = tmp_path / "one-file"
        seeded_model(config(NAME), torch.float32, seed=5).save_pretrained(whole)
        assert load(whole).fingerprint() == one

    def test_magnitudes_of_blocks_held_elsewhere_start_alike(self, sharded):
        directions = lora(NAME, torch.float32).model_copy(update={"dora": True})
        server, whole = (
            AdaptedLlm.load(sharded, directions, torch.float32, part=part)
            for part in (SERVER, None)
        )
        for name, weight in whole.adapters(0, BLOCKS).items():
            assert torch.equal(server.adapters(0, BLOCKS)[name], weight)

    def test_other_number_formats_are_converted(self, sharded):
        found = load(sharded, dtype=torch.bfloat16).model.get_input_embeddings().weight
        stored = load(sharded).model.get_input_embeddings().weight
        assert torch.equal(found, stored.to(torch.bfloat16))

    @pytest.mark.parametrize("name", ["mixtral", "qwen3_moe", "gpt2", "gpt_neox"])
    def test_names_of_checkpoints_are_known(self, name, tmp_path):
        """Experts one by one, as transformers saves them, and weights without a prefix."""
        model = plain_model(narrow(name), torch.float32)
        model.save_pretrained(tmp_path)
        if name == "gpt2":
            file = tmp_path / "model.safetensors"
            bare = {k.removeprefix("transformer."): v for k, v in load_file(file).items()}
            save_file(bare, file, {"format": "pt"})
        adapters = lora(NAME, torch.float32, tuple(targets(name)))
        loaded = AdaptedLlm.load(tmp_path, adapters, torch.float32)
        found = {n.replace(".base_layer", ""): w for n, w in loaded.model.named_parameters()}
        for weight_name, weight in model.named_parameters():
            assert torch.equal(found[weight_name], weight)


class TestFingerprint:
    def test_files_are_hashed_once_until_one_changes(self, sharded, monkeypatch):
        before = load(sharded).fingerprint()
        monkeypatch.setattr(Stored, "_read_all", lambda *_: pytest.fail("it was read again"))
        assert load(sharded).fingerprint() == before
        monkeypatch.undo()
        file = max(sharded.glob("*.safetensors"))
        tensors = load_file(file)
        next(iter(tensors.values())).view(-1)[0] += 1
        save_file(tensors, file, {"format": "pt"})
        assert load(sharded).fingerprint() != before

    def test_a_touched_file_is_hashed_again(self, sharded, monkeypatch):
        before = load(sharded).fingerprint()
        os.utime(min(sharded.glob("*.safetensors")), (1, 1))
        hashed = []
        real = Stored._read_all
        monkeypatch.setattr(
            Stored, "_read_all", lambda self, files: hashed.append(1) or real(self, files)
        )
        assert load(sharded).fingerprint() == before
        assert hashed == [1]

    @pytest.mark.parametrize("how", ["in place", "by another file"])
    def test_a_file_changed_behind_its_size_and_time_is_hashed_again(self, sharded, how):
        before = load(sharded).fingerprint()
        file = max(sharded.glob("*.safetensors"))
        kept, changed = file.stat(), bytearray(file.read_bytes())
        changed[-3] ^= 1
        written = file if how == "in place" else file.with_name("other")
        written.write_bytes(changed)
        written.replace(file)
        os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        found = file.stat()
        assert (found.st_size, found.st_mtime_ns) == (kept.st_size, kept.st_mtime_ns)
        assert load(sharded).fingerprint() != before

    def test_it_may_lie_below_a_folder_that_is_not_utf8(self, sharded, tmp_path, monkeypatch):
        before = load(sharded).fingerprint()
        odd = tmp_path / os.fsdecode(b"caf\xe9")
        try:
            odd.mkdir()
        except OSError:
            pytest.skip("this file system has UTF-8 alone")
        sharded.rename(odd / "llm")
        monkeypatch.chdir(odd)
        assert load(Path("llm")).fingerprint() == before

    def test_it_is_kept_in_the_cache_where_the_folder_cannot_be_written(
        self, sharded, tmp_path, monkeypatch
    ):
        write = weights.write_whole

        def refused(path, content):
            if path.parent == sharded:
                raise PermissionError(13, "this user may not write in its folder")
            write(path, content)

        monkeypatch.setattr(weights, "write_whole", refused)
        load(sharded).fingerprint()
        assert len(list((tmp_path / "cache" / "card" / "fingerprints").iterdir())) == 1
        monkeypatch.setattr(Stored, "_read_all", lambda *_: pytest.fail("it was read again"))
        load(sharded).fingerprint()

    @pytest.mark.parametrize("damage", ["", "[]", '{"files": {}}', '{"digest": 3}'])
    def test_a_damaged_one_is_made_anew(self, damage, sharded):
        before = load(sharded).fingerprint()
        (sharded / ".card-fingerprint.json").write_text(damage)
        assert load(sharded).fingerprint() == before


class TestDrawn:
    def test_a_part_has_the_weights_of_the_whole(self):
        adapters = lora(NAME, torch.float32)
        whole, device, server = (
            AdaptedLlm.build(config(NAME), adapters, torch.float32, part=part)
            for part in (None, DEVICE, SERVER)
        )
        assert whole.fingerprint() == device.fingerprint() == server.fingerprint()
        expected = dict(whole.model.named_parameters())
        for end in (device, server):
            for name, weight in end.model.named_parameters():
                assert torch.equal(weight, expected[name])

    def test_pieces_and_threads_make_no_difference(self, monkeypatch):
        """They are the numbers of one stream, as numpy draws it at once."""
        shape = (300, 1001)
        monkeypatch.setattr(weights, "_PIECE", 1 << 12)
        monkeypatch.setattr(weights, "_AT_ONCE", 1 << 10)
        found = Drawn(3, 0.5).tensors({"w": torch.empty(shape, device="meta")})["w"]
        seed = int.from_bytes(weights.hashlib.sha256(b"3/w").digest()[:16], "big")
        plain = np.random.Generator(np.random.PCG64(seed)).random(shape, np.float32)
        assert np.array_equal(found.numpy(), (2 * plain - 1) * np.float32(0.5))

    def test_another_generator_is_another_llm(self, monkeypatch):
        model = plain_model(config(NAME), torch.float32, device="meta")
        whole = dict(model.named_parameters())
        before = drawn(model, 0).digest(whole)
        real = weights._draw
        monkeypatch.setattr(
            weights, "_draw", lambda flat, *more: (real(flat, *more), flat.mul_(1 + 1e-6))
        )
        assert drawn(model, 0).digest(whole) != before


class TestRefusals:
    """One line, before any weight is read."""

    @pytest.fixture(autouse=True)
    def nothing_is_read(self, read):
        yield
        assert read == []

    def refused(self, folder, words):
        with pytest.raises(ScenarioError, match=words) as refusal:
            load(folder)
        assert "\n" not in str(refusal.value)

    def test_pickles(self, sharded):
        for file in (*sharded.glob("*.safetensors"), *sharded.glob("*.index.json")):
            file.unlink()
        (sharded / "pytorch_model.bin").write_bytes(pickle.dumps({}))
        self.refused(sharded, r"'pytorch_model.bin' is a pickle, which could run code")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("auto_map", {"AutoConfig": "evil.Config"}),
            ("quantization_config", {"quant_method": "bitsandbytes"}),
        ],
    )
    def test_code_of_the_publishers_and_quantised_weights(self, key, value, sharded, capfd):
        file = sharded / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
        (sharded / "evil.py").write_text("raise SystemExit('it ran')")
        self.refused(sharded, rf"config.json: {key} .* give a checkpoint of the same LLM without")
        assert capfd.readouterr().out == ""

    @pytest.mark.parametrize(
        ("told", "how"),
        [
            ({"quant_method": "gptq", "bits": 4}, "by 'gptq' in 4 bit,"),
            ({"quant_method": "awq", "bits": 4}, "by 'awq' in 4 bit,"),
            ({"quant_method": "fp8"}, "by 'fp8',"),
            ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "by 'bitsandbytes' in 8 bit,"),
            (
                NF4 | {"bnb_4bit_quant_type": "fp4"},
                "by 'bitsandbytes' in 4 bit with bnb_4bit_quant_type = 'fp4',",
            ),
            (
                NF4 | {"bnb_4bit_use_double_quant": False},
                "by 'bitsandbytes' in 4 bit with bnb_4bit_use_double_quant = False,",
            ),
            ("gptq", "by null,"),
        ],
    )
    def test_quantised_weights_say_how_they_are(self, told, how, sharded):
        file = sharded / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": told}))
        self.refused(sharded, f"says that weights are quantised {how} which are not trained on")

    def test_a_missing_shard(self, sharded):
        file = min(sharded.glob("*.safetensors"))
        file.unlink()
        self.refused(sharded, f"{file.name} is missing")

    def test_a_shard_without_a_tensor_of_the_index(self, sharded):
        file = min(sharded.glob("*.safetensors"))
        tensors = load_file(file)
        name = sorted(tensors)[0]
        del tensors[name]
        save_file(tensors, file, {"format": "pt"})
        self.refused(sharded, rf"index.json says that '{name}' is in {file.name}, where it is not")

    @pytest.mark.parametrize(
        "file", ["../other.safetensors", "/etc/passwd", "a/b.safetensors", "model.bin", 3]
    )
    def test_files_outside_the_folder(self, file, sharded):
        path, index = index_of(sharded)
        index["weight_map"]["model.norm.weight"] = file
        path.write_text(json.dumps(index))
        self.refused(sharded, "which is no .safetensors file of the folder")

    def test_number_formats_that_are_not_computed_with(self, sharded):
        file = min(sharded.glob("*.safetensors"))
        tensors = {name: tensor.to(torch.int8) for name, tensor in load_file(file).items()}
        save_file(tensors, file, {"format": "pt"})
        self.refused(sharded, "has the number format I8, allowed are BF16, F16, F32, F64")

    def test_shapes_of_another_llm(self, sharded):
        file = sharded / "config.json"
        told = {**json.loads(file.read_text()), "intermediate_size": 100}
        file.write_text(json.dumps(told))
        self.refused(sharded, r"has shape \(104, 48\), config.json makes it \(100, 48\)|\(48, 104")
