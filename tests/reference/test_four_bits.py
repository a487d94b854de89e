"""A checkpoint in four bits that is split and trained is the LLM that transformers and peft train.

The reference is transformers' own reading of the checkpoint with peft's adapters for bitsandbytes,
whole. `card` reads each end's own tensors into matrices of its own making.
"""

import json
import shutil
import sys

import pytest

pytest.importorskip("bitsandbytes", reason="needs the extra qlora")
torch = pytest.importorskip("torch", reason="needs the extra lab")

from narrow_llm import BLOCKS, LEARNING_RATE, STEPS, TOPOLOGIES, batch, config, lora
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

import card
from card.base.data_files import DATA
from card.base.errors import ScenarioError
from card.llm import architecture_of
from card.llm.blocks import block_costs
from card.llm.cuts import held_bit
from card.training.agreement import Job
from card.training.llm.holding import Part
from card.training.llm.models import seeded_model
from card.training.llm.split import AdaptedLlm, DeviceSide, ServerSide, optimiser, step
from card.training.llm.text import TOKENIZER
from card.training.parts import part_of_device, part_of_server

# peft asks transformers for a flag by its older name
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

NAMES = ("llama-3.2-1b", "qwen2.5-0.5b", "gemma-2-2b")
FOUR_BITS = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
FLOAT32 = torch.float32


def written(folder, name, shard="1GB", **more):
    """A checkpoint of a narrow LLM in four bits, as bitsandbytes and transformers write it."""
    plain = folder / "plain"
    seeded_model(config(name), FLOAT32, seed=5).save_pretrained(plain)
    how = BitsAndBytesConfig(**FOUR_BITS | {"bnb_4bit_compute_dtype": FLOAT32} | more)
    place = {"device_map": "cpu", "dtype": FLOAT32}
    four = AutoModelForCausalLM.from_pretrained(plain, quantization_config=how, **place)
    four.save_pretrained(folder / "four-bits", max_shard_size=shard)
    return folder / "four-bits"


@pytest.fixture(scope="module", params=NAMES)
def checkpoint(request, tmp_path_factory):
    return request.param, written(tmp_path_factory.mktemp("llm"), request.param)


@pytest.fixture
def llama(tmp_path):
    return written(tmp_path, NAMES[0])


def load(name, folder, part=None, **more):
    adapters = lora(name, FLOAT32).model_copy(update=more)
    return AdaptedLlm.load(folder, adapters, FLOAT32, part=part)


@torch.no_grad()
def begin(named):
    """Adapters to begin with, B ≠ 0, in the order of their names."""
    generator = torch.Generator().manual_seed(1)
    for _, weight in sorted(named.items()):
        weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))


def reference(name, folder):
    """Losses, gradients of every step and adapters after the last, by transformers and peft."""
    model = AutoModelForCausalLM.from_pretrained(folder, device_map="cpu", dtype=FLOAT32)
    model.train()  # bitsandbytes may lay out weights anew otherwise; there is no dropout
    own = lora(name, FLOAT32)
    adapters = LoraConfig(r=own.rank, lora_alpha=own.alpha, target_modules=list(own.targets))
    get_peft_model(model, adapters, autocast_adapter_dtype=False)
    named = {
        "block." + n.partition("layers.")[2].removesuffix(".default.weight"): w
        for n, w in model.named_parameters()
        if w.requires_grad
    }
    begin(named)
    update, losses, gradients = optimiser(named.values(), LEARNING_RATE), [], []
    for number in range(STEPS):
        data = batch(number)
        loss = model(input_ids=data.ids, labels=data.labels).loss
        loss.backward()
        losses.append(loss.item())
        gradients.append({n: w.grad.clone() for n, w in named.items()})
        step(update)
    return losses, gradients, {n: w.detach() for n, w in named.items()}


def split(name, folder, cut, topology):
    """The same of two ends, each of which has read its own part alone."""
    whole, ushaped = cut == BLOCKS, topology == "u-shaped"
    near = load(name, folder, Part(0, cut, True, whole or ushaped))
    far = load(name, folder, Part(cut, BLOCKS, False, not (whole or ushaped)))
    named = {}
    for llm, first, last in ((near, 0, cut), (far, cut, BLOCKS)):
        named |= dict(zip(llm.adapters(first, last), llm.trained(first, last), strict=True))
    begin(named)
    device, server = DeviceSide(near, cut, topology), ServerSide(far, cut, topology)
    updates = [optimiser(near.trained(0, cut), LEARNING_RATE),
               optimiser(far.trained(cut, BLOCKS), LEARNING_RATE)]  # fmt: skip
    losses, gradients = [], []
    for number in range(STEPS):
        sent = device.forward(batch(number))
        if whole:
            losses.append(device.finish())
        elif ushaped:
            loss, up = device.head(server.forward(sent))
            losses.append(loss)
            device.backward(server.backward(up))
        else:
            loss, down = server.train(sent)
            losses.append(loss)
            device.backward(down)
        gradients.append({n: w.grad.clone() for n, w in named.items()})
        for update in updates:
            step(update)
    return losses, gradients, {n: w.detach() for n, w in named.items()}


@pytest.fixture(scope="module")
def expected(checkpoint):
    return reference(*checkpoint)


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("cut", range(BLOCKS + 1))
def test_every_cut_trains_as_the_whole_does(cut, topology, checkpoint, expected):
    losses, gradients, adapters = split(*checkpoint, cut, topology)
    # sums are the same ones in the same order, but for threads
    assert losses == pytest.approx(expected[0], rel=1e-6)
    assert losses[-1] != losses[0]
    for found, wanted in zip([*gradients, adapters], [*expected[1], expected[2]], strict=True):
        assert found.keys() == wanted.keys()
        for name, weight in found.items():
            torch.testing.assert_close(weight, wanted[name], rtol=1e-5, atol=1e-6)


def test_the_ends_hold_what_the_model_counts(llama):
    """The tables of 16 and 256 values are left out there, as it says."""
    raw = json.loads((llama / "config.json").read_text())
    training = card.load_scenario(
        "nominal", **{"training.base_weights": "nf4", "training.weight_bits": 32}
    ).training
    arch = architecture_of("mine", raw)
    for block, cost in zip(
        load(NAMES[0], llama).blocks,
        block_costs(arch, training, lora(NAMES[0], FLOAT32)),
        strict=True,
    ):
        held = 0
        for weight in block.parameters():
            state = getattr(weight, "quant_state", None)
            scales = [state.absmax, state.state2.absmax] if state else []
            if not weight.requires_grad:
                held += sum(8 * one.numel() * one.element_size() for one in (weight.data, *scales))
        assert held == held_bit(cost, training)


def test_each_end_reads_its_own_matrices(llama):
    whole, near = load(NAMES[0], llama), load(NAMES[0], llama, Part(0, 1, True, False))
    assert whole.fingerprint() == near.fingerprint()
    first = near.blocks[0].mlp.up_proj.weight
    assert torch.equal(first, whole.blocks[0].mlp.up_proj.weight)
    assert near.blocks[1].mlp.up_proj.weight is None


def test_shards_make_no_difference(llama, tmp_path):
    sharded = written(tmp_path / "sharded", NAMES[0], shard="20KB")
    assert len(list(sharded.glob("*.safetensors"))) > BLOCKS
    one, many = load(NAMES[0], llama), load(NAMES[0], sharded)
    assert one.fingerprint() == many.fingerprint()
    data = batch().ids
    assert torch.equal(one.model(input_ids=data).logits, many.model(input_ids=data).logits)


def test_computing_in_another_format_leaves_the_four_bits_as_they_are(llama):
    """Norms and embedding of this checkpoint are rounded to bfloat16, to 8 bit of mantissa."""
    llm, data = AdaptedLlm.load(llama, lora(NAMES[0], FLOAT32), torch.bfloat16), batch().ids
    assert llm.model(input_ids=data, labels=data).loss.isfinite()
    llm.compute_in(FLOAT32)
    found = llm.model(input_ids=data, labels=data).loss.item()
    stored = load(NAMES[0], llama).model(input_ids=data, labels=data).loss.item()
    assert found == pytest.approx(stored, rel=2**-8)
    assert llm.blocks[0].mlp.up_proj.compute_dtype == FLOAT32


def test_nothing_is_lost_by_judging_before_training(llama):
    """bitsandbytes would lay out weights anew on some processors, and then give no gradient."""
    llm = load(NAMES[0], llama)
    with torch.no_grad():
        llm.model(input_ids=batch().ids)
    llm.model(input_ids=batch().ids, labels=batch().ids).loss.backward()
    assert all(bool(weight.grad.any()) for weight in llm.trained(0, BLOCKS)[1::2])
    for block in llm.blocks:
        assert not block.mlp.up_proj.support_avx512bf16_for_cpu


class TestRefusals:
    def refused(self, folder, words, **more):
        with pytest.raises(ScenarioError, match=words) as refusal:
            load(NAMES[0], folder, **more)
        assert "\n" not in str(refusal.value)

    def test_without_bitsandbytes_the_extra_is_named(self, llama, monkeypatch):
        monkeypatch.setitem(sys.modules, "bitsandbytes.nn", None)
        self.refused(llama, r"in four bits needs bitsandbytes, which is not installed; pip .*qlora")

    def test_dora(self, llama):
        self.refused(llama, "lora.dora = true is not trained on .* set it to false", dora=True)

    def test_a_matrix_that_is_left_as_it_was(self, tmp_path):
        folder = written(tmp_path, NAMES[0], llm_int8_skip_modules=["up_proj", "lm_head"])
        self.refused(folder, "does not hold every matrix of its blocks in four bits, such as '.*up")

    @pytest.mark.parametrize("part", ["", ".absmax", ".nested_absmax", ".quant_map"])
    def test_sizes_that_are_not_those_of_the_shape(self, part, llama):
        """What computes would read beyond them."""
        file, key = llama / "model.safetensors", "model.layers.0.self_attn.q_proj.weight"
        tensors = load_file(file)
        tensors[key + part] = tensors[key + part][:-1].clone()
        save_file(tensors, file, {"format": "pt"})
        self.refused(llama, f"'{key}' is no matrix of shape .* in four bits")

    @pytest.mark.parametrize("told", [{"shape": [48, 999]}, {"blocksize": 4096}, {"shape": None}])
    def test_what_is_said_of_a_matrix_is_not_what_it_is(self, told, llama):
        file, key = llama / "model.safetensors", "model.layers.0.self_attn.q_proj.weight"
        tensors = load_file(file)
        state = f"{key}.quant_state.bitsandbytes__nf4"
        said = json.loads(bytes(tensors[state].tolist()))
        changed = json.dumps(said | told).encode()
        tensors[state] = torch.tensor(list(changed), dtype=torch.uint8)
        save_file(tensors, file, {"format": "pt"})
        self.refused(llama, f"'{key}' is no matrix of shape .* in four bits")


def test_a_job_of_it_is_opened_part_by_part(tmp_path):
    """The scenario counts four bits per weight, and each end reads what it needs of them."""
    bed, shipped = card.load_scenario("test-bed"), DATA / "checkpoints" / "tiny-llama-0.5m"
    place = {"device_map": "cpu", "dtype": FLOAT32}
    how = BitsAndBytesConfig(**FOUR_BITS)
    four = AutoModelForCausalLM.from_pretrained(shipped, quantization_config=how, **place)
    four.save_pretrained(tmp_path)
    shutil.copy(TOKENIZER, tmp_path / "tokenizer.json")
    scenario = bed.updated({"training.base_weights": "nf4"})
    server = Job.open(scenario, tmp_path, part=part_of_server(scenario))
    device = Job.open(scenario, tmp_path, part=part_of_device(scenario, "device-1"))
    assert server.objection(device.hello("device-1")) is None
    plain = Job.open(bed)
    assert "frozen weights" in server.objection(plain.hello("device-1"))
    need, usual = card.cut_profile(scenario), card.cut_profile(bed)
    assert (need.device_memory_bit[1:] < usual.device_memory_bit[1:]).all()
