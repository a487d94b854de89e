"""Attention is computed as both ends agree: plain, or by torch's fused kernels where there are."""

import pytest

torch = pytest.importorskip("torch")

import copy

from narrow_llm import built

from card.base.errors import ScenarioError
from card.training.llm.split import Batch, ServerSide


def loss(llm):
    ids = torch.arange(12).reshape(1, 12)
    hidden = llm.embed(Batch(ids).ids).detach()
    return ServerSide(llm, 0, "vanilla").train({"hidden": hidden, "labels": ids})[0]


def test_fused_attention_gives_the_same_loss_and_can_be_taken_back():
    llm = copy.deepcopy(built("llama-3.2-1b", torch.float32))
    plain = loss(llm)
    llm.attend("sdpa")
    assert llm.attention == "sdpa"
    assert loss(llm) == pytest.approx(plain, rel=1e-5)  # sums in another order
    llm.attend("eager")
    assert loss(llm) == plain


def test_an_llm_without_fused_attention_is_refused():
    llm = copy.deepcopy(built("gemma-2-2b", torch.float32))
    with pytest.raises(ScenarioError, match="'sdpa' is not offered by gemma2; give eager"):
        llm.attend("sdpa")
