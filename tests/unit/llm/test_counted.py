"""`card.llm.counted`: what torch counts is refused or counted once, and then known from a file."""

import json
import sys
from types import ModuleType

import pytest

import card
from card.base.data_files import cache_folder
from card.base.errors import MissingExtraError, ScenarioError
from card.llm import counted as module
from card.llm.blocks import Cost, LlmCosts
from card.llm.counted import counted

NOMINAL = card.load_scenario("nominal")
BLOOM = {"model_type": "bloom", "n_layer": 2, "hidden_size": 64}
BLOCK = Cost(10, 20, 5, 2, 7)
COSTS = LlmCosts(64, Cost(3, 0, 100, 0, 0), (BLOCK, BLOCK), Cost(4, 4, 1, 0, 9), 101)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A machine whose torch counts `COSTS` of any LLM; what it was asked for, and its cache."""
    calls = []

    def count_llm(llm, raw, training, lora):
        calls.append((llm, raw, training.batch_size, training.sequence_length, lora))
        return COSTS

    torch = ModuleType("card.llm.real.stack")
    torch.count_llm = count_llm
    monkeypatch.setitem(sys.modules, "card.llm.real", ModuleType("card.llm.real"))
    monkeypatch.setitem(sys.modules, "card.llm.real.stack", torch)
    monkeypatch.setattr(module, "needs", lambda *_: None)
    monkeypatch.setattr(module, "_version", lambda name: f"1 of {name}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    module._costs.cache_clear()
    yield calls
    module._costs.cache_clear()


def count(raw=BLOOM, llm="mine", **changes):
    module._costs.cache_clear()  # as another process would
    training = NOMINAL.training.model_copy(update=changes)
    return counted(llm, raw, training, NOMINAL.lora)


def kept():
    (file,) = (cache_folder() / "llms").iterdir()
    return file


def test_counted_once_and_then_known_whatever_it_is_called(asked):
    assert count() == count(llm="other") == COSTS
    assert asked == [("mine", BLOOM, 1, 512, NOMINAL.lora)]
    assert count({**BLOOM, "_name_or_path": "a/b", "_card": {"title": "B"}}) == COSTS
    assert len(asked) == 1


@pytest.mark.parametrize(
    "changes", [{"batch_size": 2}, {"sequence_length": 8}, {"activation_bits": 32}]
)
def test_another_mini_batch_is_counted_anew(asked, changes):
    count()
    count(**changes)
    assert len(asked) == 2


def test_what_costs_do_not_depend_on_is_not_counted_anew(asked):
    count()
    count(topology="u-shaped", weight_bits=4, local_iterations=3, cut_range=(1, None))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("change", "calls"), [({"alpha": 32, "rslora": True}, 1), ({"dora": True}, 2)]
)
def test_only_adapters_that_cost_something_else_are_counted_anew(asked, change, calls):
    for lora in (NOMINAL.lora, NOMINAL.lora.model_copy(update=change)):
        module._costs.cache_clear()
        counted("mine", BLOOM, NOMINAL.training, lora)
    assert len(asked) == calls


def test_another_configuration_is_counted_anew(asked):
    count()
    count({**BLOOM, "n_layer": 3})
    assert len(asked) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"costs": {}}', b"\xff\x00"])
def test_a_damaged_file_is_counted_anew_and_mended(asked, damage):
    count()
    whole = kept().read_bytes()
    kept().write_bytes(damage)
    assert count() == COSTS
    assert len(asked) == 2
    assert kept().read_bytes() == whole


def test_numbers_that_are_none_are_damage(asked):
    count()
    raw = json.loads(kept().read_text("utf-8"))
    raw["costs"]["hidden"] = "64"
    kept().write_text(json.dumps(raw), "utf-8")
    assert count() == COSTS
    assert len(asked) == 2


def test_other_libraries_count_anew_and_absent_ones_take_what_is_kept(asked, monkeypatch):
    count()
    monkeypatch.setattr(module, "_version", lambda name: "2")
    count()
    assert len(asked) == 2
    monkeypatch.setattr(module, "_version", lambda _: None)
    count()
    assert len(asked) == 2


def test_without_a_place_to_keep_it_is_counted_all_the_same(asked, monkeypatch, tmp_path):
    (tmp_path / "card").write_text("a file in the folder's place", "utf-8")
    assert count() == COSTS
    monkeypatch.setattr(module, "cache_folder", lambda: None)
    assert count() == COSTS
    assert len(asked) == 2


def test_within_a_process_nothing_is_read_twice(asked):
    count()
    kept().unlink()
    assert counted("mine", BLOOM, NOMINAL.training, NOMINAL.lora) == COSTS
    assert len(asked) == 1


def test_the_cache_is_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine" / "card"
    for unset in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_folder() == tmp_path / "home" / ".cache" / "card"


def test_every_cut_of_an_llm_that_torch_counts(asked, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(BLOOM), "utf-8")
    study = tmp_path / "study.yml"
    study.write_text("base: nominal\ntitle: t\nllm: mine.json\n", "utf-8")
    profile = card.cut_profile(card.load_scenario(study))
    assert profile.device_flop.tolist() == [3, 3 + 30, 3 + 60 + 8]
    assert profile.server_flop.tolist() == [60 + 8, 30 + 8, 0]
    assert profile.downlink_bit.tolist() == [0, 512 * 64 * 16, 0]
    assert profile.adapter_bit.tolist() == [0, 2 * 16, 4 * 16]
    on_device = [16 * 100, 16 * (105 + 4 * 2) + 7, 16 * (111 + 4 * 4) + 14 + 9]
    assert profile.device_memory_bit.tolist() == on_device
    on_server = [16 * (111 + 4 * 4) + 14 + 9, 16 * (106 + 4 * 2) + 7 + 9, 0]
    assert profile.server_memory_bit.tolist() == on_server


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {**BLOOM, "auto_map": {"AutoModel": "m.Model"}},
            "mine: auto_map asks for code of the publisher's, which is never run here; leave it "
            "out if transformers itself has the family 'bloom'.",
        ),
        (
            {"model_type": "llava", "text_config": {"model_type": "llama"}},
            "mine: model_type = 'llava' is of more than text; give what its key text_config "
            "holds as a config.json of its own.",
        ),
        (
            {},
            "mine: model_type = null is no family of LLMs; give that of a causal LM, such as "
            "llama.",
        ),
        (
            {"model_type": ["bloom"]},
            "mine: model_type = ['bloom'] is no family of LLMs; give that of a causal LM, such as "
            "llama.",
        ),
        ({**BLOOM, "_card": 3}, "mine: _card = 3 is not allowed"),
    ],
)
def test_what_is_never_counted_is_refused_before_torch_is_asked(asked, raw, message):
    with pytest.raises(ScenarioError) as refusal:
        count(raw)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)
    assert asked == []


def test_the_extra_that_counts_is_named_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError) as refusal:
        count()
    assert str(refusal.value) == (
        "llm = 'mine', counted by torch as bloom has no closed form, needs torch, which is not "
        "installed; pip install 'card-split-learning[lab]'."
    )
