"""Attacks on what devices send: what must be recovered, and what cannot be."""

import pytest

pytest.importorskip("torch")

import torch
from leaking import ATTACKS, CUTS
from narrow_llm import NAMES, batch, fresh
from typer.testing import CliRunner

import card
from card.base.errors import ScenarioError
from card.cli import app
from card.profiling import leakage
from card.scenario.leakage import LeakageTable
from card.training.attacks import (
    as_sent,
    final_gradient,
    infer_labels,
    inverter,
    search,
    smashed,
)

KNOWN, HELD_OUT = 200, 20
GROUP = 64


@pytest.fixture(scope="module")
def llm():
    """An LLM as it is before the first round, when adapters change nothing yet."""
    one = fresh("llama-3.2-1b", torch.float32)
    for name, weight in one.adapters(0, len(CUTS)).items():
        if name.endswith("lora_B"):
            weight.zero_()
    return one


def sequences(count, seed):
    """Token ids, few of which are frequent, as in a text; all of them occur."""
    source = torch.Generator().manual_seed(seed)
    return (90 * torch.rand((count, 12), generator=source) ** 2).long()


def share(guess, truth):
    return float((guess == truth).double().mean())


def recovered(llm, cut, shuffled=False):
    """What a decoder finds in held-out smashed data, if shuffled after learning at random."""
    known, own = sequences(KNOWN, 0), sequences(HELD_OUT, 1)
    tokens = known.flatten()
    if shuffled:
        tokens = tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(2))]
    decode = inverter(smashed(llm, cut, known).flatten(0, 1), tokens, llm.vocabulary, seed=0)
    chance = float(own.flatten().bincount().max() / own.numel())
    return share(decode(smashed(llm, cut, own)), own), chance


@pytest.mark.parametrize(("cut", "most"), [(0, 0.99), (1, 0.9), (3, 0.7)])
def test_smashed_data_are_inverted_embeddings_nearly_all(llm, cut, most):
    """A random LLM mixes little, so deep cuts are easy, too; chance is below a tenth."""
    found, chance = recovered(llm, cut)
    assert found > most > 5 * chance


@pytest.mark.parametrize("cut", [0, 3])
def test_shuffled_tokens_teach_nothing(llm, cut):
    """Three standard deviations of a share of 240 tokens are less than 0.07 near chance."""
    found, chance = recovered(llm, cut, shuffled=True)
    assert found < chance + 0.07


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", CUTS)
def test_search_finds_every_token_of_whatever_family(name, cut):
    one = fresh(name, torch.float32)
    ids = batch().ids[:1, :5]
    sent = smashed(one, cut, ids)[0]
    widths = (32, 8)
    ways = [as_sent(sent, bits, GROUP) for bits in widths]
    assert search(one, cut, ways, widths, GROUP).tolist() == [ids[0].tolist()] * 2


@pytest.mark.parametrize("name", NAMES)
def test_labels_follow_from_the_gradient_of_whatever_family(name):
    one = fresh(name, torch.float32)
    ids = batch().ids
    final, gradient = final_gradient(one, 2, ids)
    arrived = [as_sent(gradient, bits, GROUP) for bits in (32, 16)]
    assert infer_labels(one, final, arrived).tolist() == [ids[:, 1:].tolist()] * 2


def test_a_gradient_of_something_else_tells_no_label(llm):
    ids = batch().ids
    final, gradient = final_gradient(llm, 2, ids)
    noise = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0))
    found = infer_labels(llm, final, [noise * gradient.std()])
    assert share(found[0], ids[:, 1:]) < 0.2


class TestAsSent:
    VALUES = torch.randn((3, 5, 100), generator=torch.Generator().manual_seed(0))

    def test_as_many_bits_as_are_held_change_nothing(self):
        assert torch.equal(as_sent(self.VALUES, 32, GROUP), self.VALUES)

    @pytest.mark.parametrize("bits", [8, 4])
    def test_integers_are_off_by_half_a_step_of_their_group(self, bits):
        back = as_sent(self.VALUES, bits, GROUP)
        for part in (slice(0, 64), slice(64, 100)):
            values = self.VALUES[..., part]
            peak = values.abs().amax(dim=-1, keepdim=True)
            step = peak / (2 ** (bits - 1) - 1)
            # a scale of 11 binary digits may itself be off by 2^-11 of it, at every step
            slack = 2.0**-11 * peak
            assert ((back[..., part] - values).abs() <= step / 2 + slack).all()
            assert len({*(values / step).round().flatten().tolist()}) <= 2**bits - 1

    def test_zeros_stay_zeros(self):
        assert not as_sent(torch.zeros((2, 8)), 4, GROUP).any()


class TestMeasure:
    def test_a_table_has_every_attack_cut_and_width_that_the_llm_can_send(self):
        bed = card.load_scenario("test-bed")
        table = leakage.measure(bed, leakage.TEXTS[:2], seeds=1, sizes=leakage.QUICK)
        rows = {(one.attack, one.cut, one.uplink_bits) for one in table.rates}
        assert rows == {(a, c, b) for a in ATTACKS for c in CUTS for b in (32, 16, 8, 4)}
        assert table.llm == bed.llm
        for attack in ("search", "label-inference"):
            assert min(table.recovery(attack, cut, 32).rate for cut in CUTS) > 0.95
        assert table.chance.high < table.recovery("inversion", 0, 32).low

    def test_one_text_is_refused(self):
        with pytest.raises(ScenarioError, match=r"text: 1 given; give two or more, of which each"):
            leakage.measure(card.load_scenario("test-bed"), leakage.TEXTS[:1])

    def test_a_text_that_the_attacker_would_have_is_refused(self, tmp_path):
        copy = tmp_path / "copy.txt"
        copy.write_bytes(leakage.TEXTS[0].read_bytes())
        with pytest.raises(ScenarioError, match=r"text: two of .*copy.txt say the same, so that"):
            leakage.measure(card.load_scenario("test-bed"), [*leakage.TEXTS[:2], copy])

    @pytest.mark.parametrize("bad", ["none.txt", "short.txt"])
    def test_what_cannot_be_attacked_is_refused_before_anything_is_told(self, tmp_path, bad):
        (tmp_path / "short.txt").write_text("too short", "utf-8")
        told = []
        texts = [*leakage.TEXTS[:2], tmp_path / bad]
        with pytest.raises(ScenarioError, match=bad):
            leakage.measure(card.load_scenario("test-bed"), texts, echo=told.append)
        assert not told


def test_the_command_writes_what_a_scenario_reads(tmp_path, monkeypatch):
    shipped = LeakageTable.read("privacy.leakage", "leakage")
    monkeypatch.setattr(leakage, "measure", lambda *_, **__: shipped)
    path = tmp_path / "mine.json"
    result = CliRunner().invoke(app, ["leakage", "test-bed", "--output", str(path)])
    assert result.exit_code == 0
    assert LeakageTable.read("privacy.leakage", str(path)) == shipped
    assert "label-inference" in result.stdout
