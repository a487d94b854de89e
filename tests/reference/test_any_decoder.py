"""A split LLM of any family with a plain stack of blocks is the unsplit one, and no other is run.

Every cut and both topologies, five steps, on random LLMs of 2 to 4 blocks and width 48.
"""

import copy
import itertools

import pytest
import torch
from families import COUNTED, NARROW, counted, narrow, targets

from card.base.errors import ScenarioError
from card.scenario import Lora
from card.training.llm import proof
from card.training.llm.proof import check_split
from card.training.llm.split import AdaptedLlm, Batch, DeviceSide, ServerSide, optimiser

STEPS, SEQUENCES, LENGTH, LEARNING_RATE = 5, 2, 9, 1e-2
TOLERANCE = 1e-5
"""Far above what reordered sums could cause in float32."""
OF_EACH_FAMILY = [name for name in NARROW if "-" not in name or name == "qwen3_moe-mixed"]
OTHERS = [name for name in COUNTED if name not in ("olmoe",)]
LEFT = {"starts": (3, 0)}
RIGHT = {"lengths": (9, 5)}
PACKED = {"positions": ((0, 1, 2, 3, 0, 1, 2, 3, 4), (0, 1, 0, 1, 2, 3, 4, 5, 6))}


def raw_of(name):
    return counted(name) if name in COUNTED else narrow(name)


def adapters(name):
    chosen = targets(name) if name in NARROW else ["all-linear"]
    return Lora(rank=3, targets=tuple(chosen), adapter_bits=32)


def built(name):
    """With B ≠ 0, for with B = 0 half of all gradients vanish."""
    llm = AdaptedLlm.build(raw_of(name), adapters(name), torch.float32)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in llm.trained(0, llm.num_blocks):
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return llm


def batch(step, **told):
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(2, 90, (SEQUENCES, LENGTH), generator=generator)
    return Batch(ids, **{name: torch.tensor(value) for name, value in told.items()})


def unsplit_step(llm, data):
    kept = data.padding.kept(LENGTH) if data.padding else None
    mask = None if kept is None else kept.long()
    loss = llm.model(
        input_ids=data.ids, attention_mask=mask, position_ids=data.positions, labels=data.labels
    ).loss
    loss.backward()
    return loss.item()


def split_step(device, server, data):
    sent = device.forward(data)
    if not sent:
        return device.finish()
    if device.topology == "u-shaped":
        loss, up = device.head(server.forward(sent))
        down = server.backward(up)
    else:
        loss, down = server.train(sent)
    device.backward(down)
    return loss


def trained(llms, step, **told):
    """Losses, gradients of the first step, and adapters after all steps."""
    updates = [optimiser(llm.trained(*span), LEARNING_RATE) for llm, *span in llms]
    losses, first = [], {}
    for index in range(STEPS):
        for update in updates:
            update.zero_grad()
        losses.append(step(batch(index, **told)))
        for llm, *span in llms if not index else ():
            weights = zip(llm.adapters(*span), llm.trained(*span), strict=True)
            first |= {name: weight.grad.clone() for name, weight in weights}
        for update in updates:
            update.step()
    last = {name: weight for llm, *span in llms for name, weight in llm.adapters(*span).items()}
    return losses, first, last


def whole_and_split(llm, cut, topology, **told):
    blocks = llm.num_blocks
    near, far = copy.deepcopy(llm), copy.deepcopy(llm)
    near.keep(0, cut, embedding=True, head=cut == blocks or topology == "u-shaped")
    far.keep(cut, blocks, embedding=False, head=topology == "vanilla")
    device, server = DeviceSide(near, cut, topology), ServerSide(far, cut, topology)
    sides = [(near, 0, cut), (far, cut, blocks)]
    return trained(sides, lambda data: split_step(device, server, data), **told)


def assert_alike(found, expected):
    assert found[0] == pytest.approx(expected[0], abs=TOLERANCE)
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        assert mine.keys() == theirs.keys()
        for name, weight in theirs.items():
            assert torch.allclose(mine[name], weight, rtol=TOLERANCE, atol=TOLERANCE), name


@pytest.mark.parametrize("name", OF_EACH_FAMILY + OTHERS)
def test_split_training_is_unsplit_training(name):
    llm = built(name)
    whole = copy.deepcopy(llm)
    expected = trained([(whole, 0, llm.num_blocks)], lambda data: unsplit_step(whole, data))
    assert all(gradient.abs().max() > 0 for gradient in expected[1].values())
    for cut, topology in itertools.product(range(llm.num_blocks + 1), ("vanilla", "u-shaped")):
        assert_alike(whole_and_split(llm, cut, topology), expected)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        *itertools.product(["gemma3_text", "gpt2"], [LEFT, RIGHT, PACKED]),
        ("llama", LEFT | {"lengths": (9, 7)}),
        ("bloom", LEFT),
    ],
)
def test_padding_and_packed_texts_train_alike(name, told):
    llm = built(name)
    whole = copy.deepcopy(llm)
    step = [(whole, 0, llm.num_blocks)]
    expected = trained(step, lambda data: unsplit_step(whole, data), **told)
    plain = unsplit_step(copy.deepcopy(llm), batch(0))
    assert expected[0][0] != pytest.approx(plain, abs=1e-4)
    for topology in ("vanilla", "u-shaped"):
        assert_alike(whole_and_split(llm, 1, topology, **told), expected)


class TestProof:
    @pytest.mark.parametrize("name", ["mistral", "gemma3_text", "qwen3_moe-mixed", "gptj"])
    def test_plain_stacks_pass(self, name):
        check_split(name, raw_of(name), adapters(name), "vanilla")

    def test_what_differs_is_named(self, monkeypatch):
        """A server that counts positions from elsewhere computes another LLM."""
        context = AdaptedLlm.context

        def shifted(self, count, length, padding=None):
            found = context(self, count, length, padding)
            for call in found.calls:
                call["position_embeddings"] = call["position_embeddings"][::-1]
            return found

        monkeypatch.setattr(AdaptedLlm, "context", shifted)
        proof._check.cache_clear()
        with pytest.raises(ScenarioError, match=r"cut at 0 of 2 blocks, its loss differs .* by"):
            check_split("mine", raw_of("llama"), adapters("llama"), "vanilla")

    @pytest.mark.parametrize(
        ("raw", "why"),
        [
            ({"model_type": "no-such-family"}, "no causal LM of the transformers"),
            ({"model_type": "bart"}, "has an encoder beside its decoder"),
        ],
    )
    def test_what_is_no_plain_stack_is_refused(self, raw, why):
        with pytest.raises(ScenarioError, match=why):
            check_split("mine", raw, adapters("bloom"), "vanilla")
