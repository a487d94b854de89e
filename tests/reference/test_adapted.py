"""`card.training.llm.adapters`: an LLM with adapters is built, loaded, kept and taken apart."""

import gc
import weakref

import pytest
import torch
from narrow_llm import (
    BLOCKS,
    FIRST_WEIGHT,
    NAMES,
    A,
    batch,
    built,
    config,
    fresh,
    lora,
    plain_step,
)
from safetensors.torch import load_file, save_file

from card.base.errors import ScenarioError
from card.llm.architectures import architecture_of
from card.scenario import Lora
from card.training.llm.models import seeded_model
from card.training.llm.split import AdaptedLlm, SplitError


class TestBuild:
    def test_weights_follow_from_the_seed_and_their_names(self):
        raw, adapters = config("llama-3.2-1b"), lora("llama-3.2-1b", torch.float32)
        one, again, other = (
            AdaptedLlm.build(raw, adapters, torch.float32, seed=seed) for seed in (0, 0, 1)
        )
        assert one.fingerprint() == again.fingerprint() != other.fingerprint()
        for name, weight in one.adapters(0, BLOCKS).items():
            assert torch.equal(weight, again.adapters(0, BLOCKS)[name])
            assert weight.any() == name.endswith("lora_A")
        # one number of the generator, for it to be the same on another machine
        drawn = one.adapters(0, 1)["block.0.self_attn.q_proj.lora_A"][0, 0].item()
        assert drawn == FIRST_WEIGHT

    def test_fingerprint_sees_one_changed_weight_and_no_adapter(self, tmp_path):
        adapters = lora("gpt-2", torch.float32)
        model = seeded_model(config("gpt-2"), torch.float32, seed=0)
        model.save_pretrained(tmp_path / "one")
        with torch.no_grad():
            model.transformer.h[3].mlp.c_proj.weight[0, 0] += 1e-3
        model.save_pretrained(tmp_path / "other")
        llm, again, changed = (
            AdaptedLlm.load(tmp_path / name, adapters, torch.float32)
            for name in ("one", "one", "other")
        )
        with torch.no_grad():
            llm.trained(0, 1)[0].zero_()
        assert llm.fingerprint() == again.fingerprint() != changed.fingerprint()

    def test_adapters_are_as_peft_makes_them(self):
        """Scaled by α/√r; each magnitude is the norm of a row of W, so that nothing is changed."""
        everything = Lora(
            rank=4, alpha=6, targets="all-linear", dora=True, rslora=True, adapter_bits=32
        )
        llm = AdaptedLlm.build(config("llama-3.2-1b"), everything, torch.float32)
        plain = seeded_model(config("llama-3.2-1b"), torch.float32, seed=0).eval()
        expected = plain(input_ids=batch().ids, labels=batch().ids).loss.item()
        assert plain_step(llm, batch()) == pytest.approx(expected, rel=1e-6)
        matrix = llm.blocks[1].mlp.down_proj
        assert matrix.scaling["default"] == 6 / 4**0.5
        magnitude = llm.adapters(1, 2)["block.1.mlp.down_proj.lora_magnitude_vector"]
        assert torch.equal(magnitude, matrix.base_layer.weight.norm(dim=1))
        assert len(llm.adapters(0, 1)) == 7 * 3
        assert all(weight.grad is not None for weight in llm.trained(0, BLOCKS))

    def test_eight_bit_adapters_are_refused(self):
        eight = Lora(rank=3, targets=("q_proj",), adapter_bits=8)
        with pytest.raises(ScenarioError, match=r"adapter_bits = 8 .* give 16, 32 or 64"):
            AdaptedLlm.build(config("llama-3.2-1b"), eight, torch.float32)

    def test_target_of_another_architecture_is_refused(self):
        fused = lora("gpt-2", torch.float32)
        with pytest.raises(ScenarioError, match="'c_attn' is no projection of llama"):
            AdaptedLlm.build(config("llama-3.2-1b"), fused, torch.float32)


class TestLoad:
    @pytest.mark.parametrize("name", NAMES)
    def test_checkpoint_gives_the_model_that_was_saved(self, name, tmp_path, capfd):
        model = seeded_model(config(name), torch.float32, seed=5).eval()
        model.save_pretrained(tmp_path)
        adapters = lora(name, torch.float32)
        loaded = AdaptedLlm.load(tmp_path, adapters, torch.float32, seed=5)
        same = AdaptedLlm.build(config(name), adapters, torch.float32, seed=5)
        drawn = dict(same.model.named_parameters())
        assert drawn.keys() == dict(loaded.model.named_parameters()).keys()
        for weight_name, weight in loaded.model.named_parameters():
            assert torch.equal(weight, drawn[weight_name])
        assert "Loading" not in capfd.readouterr().err
        expected = model(input_ids=batch().ids, labels=batch().ids).loss.item()
        assert plain_step(loaded, batch()) == expected  # B = 0: adapters change nothing yet

    def test_folder_without_a_checkpoint_is_refused(self, tmp_path):
        with pytest.raises(ScenarioError, match=r"holds no checkpoint \(no config.json\)"):
            AdaptedLlm.load(tmp_path, lora("gpt-2", torch.float32), torch.float32)

    @pytest.mark.parametrize("damage", ["missing", "cut short"])
    def test_damaged_checkpoint_is_refused(self, damage, tmp_path):
        seeded_model(config("gpt-2"), torch.float32, seed=0).save_pretrained(tmp_path)
        weights = tmp_path / "model.safetensors"
        kept = weights.read_bytes()[: weights.stat().st_size // 2]
        weights.unlink() if damage == "missing" else weights.write_bytes(kept)
        with pytest.raises(ScenarioError, match="is no checkpoint that can be read"):
            AdaptedLlm.load(tmp_path, lora("gpt-2", torch.float32), torch.float32)

    def test_incomplete_checkpoint_is_refused(self, tmp_path):
        seeded_model(config("llama-3.2-1b"), torch.float32, seed=0).save_pretrained(tmp_path)
        weights = load_file(tmp_path / "model.safetensors")
        del weights["model.norm.weight"]
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(ScenarioError, match=r"lacks the weight 'model.norm.weight'"):
            AdaptedLlm.load(tmp_path, lora("llama-3.2-1b", torch.float32), torch.float32)


class TestKeep:
    @pytest.mark.parametrize("name", NAMES)
    def test_weights_that_are_not_run_are_gone(self, name):
        llm = fresh(name, torch.float32)
        arch = architecture_of(name, config(name))
        frozen = [weakref.ref(w) for w in llm.model.parameters() if not w.requires_grad]
        assert sum(ref().numel() for ref in frozen) == arch.parameters
        before = llm.fingerprint()
        llm.keep(1, 3, embedding=False, head=False)
        gc.collect()
        held = sum(ref().numel() for ref in frozen if ref() is not None)
        assert held == 2 * arch.parameters_of(arch.blocks[1])
        assert llm.fingerprint() == before

    def test_tied_head_keeps_the_weights_it_shares(self):
        llm = fresh("llama-3.2-1b", torch.float32)
        llm.keep(0, 0, embedding=False, head=True)
        assert sum(w.numel() for w in llm.model.parameters()) == 90 * 48 + 48

    def test_what_is_dropped_does_not_run(self):
        llm = fresh("gpt-2", torch.float32)
        llm.keep(0, 1, embedding=False, head=False)
        context, hidden = llm.context(1, 4), torch.zeros(1, 4, 48)
        assert llm.run(hidden, 0, 1, context).shape == hidden.shape
        for run in (
            lambda: llm.run(hidden, 0, 2, context),
            lambda: llm.embed(torch.zeros(1, 4, dtype=torch.int64)),
            lambda: llm.loss(hidden, torch.zeros(1, 4, dtype=torch.int64)),
            lambda: llm.trained(1, 2),
            lambda: llm.load_adapters(built("gpt-2", torch.float32).adapters(1, 2)),
        ):
            with pytest.raises(SplitError, match="held here"):
                run()


class TestAdapters:
    def test_travel_from_one_end_to_the_other(self):
        near, far = fresh("gpt-2", torch.float32), fresh("gpt-2", torch.float32)
        sent = {name: weight + 1 for name, weight in near.adapters(1, 3).items()}
        places = [weight.data_ptr() for weight in far.trained(0, BLOCKS)]
        far.load_adapters(sent)
        for name, weight in far.adapters(0, BLOCKS).items():
            assert torch.equal(weight, sent.get(name, near.adapters(0, BLOCKS)[name]))
        assert places == [weight.data_ptr() for weight in far.trained(0, BLOCKS)]

    def test_have_stable_names(self):
        assert list(built("llama-3.2-1b", torch.float32).adapters(2, 3)) == [
            f"block.2.self_attn.{projection}.{matrix}"
            for projection in ("q_proj", "v_proj")
            for matrix in ("lora_A", "lora_B")
        ]

    def test_none_is_no_error(self):
        built("gpt-2", torch.float32).load_adapters({})

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t.popitem(), "is missing; send those of whole blocks"),
            (lambda t: t.update({"block.9.x": torch.zeros(1)}), "'block.9.x' belongs to no block"),
            (lambda t: t.update({A: torch.zeros(3, 47)}), r"is \(3, 47\) .* needs \(3, 48\)"),
            (lambda t: t.update({A: t[A].double()}), r"float64; this LLM needs .* torch.float32"),
        ],
        ids=["missing", "foreign", "shape", "format"],
    )
    def test_that_do_not_fit_are_refused_and_change_nothing(self, change, message):
        llm = fresh("llama-3.2-1b", torch.float32)
        before = {name: weight.clone() for name, weight in llm.adapters(0, BLOCKS).items()}
        sent = {name: weight + 1 for name, weight in before.items()}
        change(sent)
        with pytest.raises(SplitError, match=message):
            llm.load_adapters(sent)
        for name, weight in llm.adapters(0, BLOCKS).items():
            assert torch.equal(weight, before[name])
