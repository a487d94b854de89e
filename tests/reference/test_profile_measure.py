"""A profile counts what the closed forms say, and says what it could not read.

Measured on narrow models, which any processor runs in a moment; times are not judged, since they
belong to the machine. Counts are exact, so no tolerance appears below.
"""

import json
import time
from functools import lru_cache

import pytest
import torch
from own_llms import own_llm
from split_model import QUERY_AND_VALUE, narrow_config, training

from card.base.data_files import DATA, llm_names
from card.base.errors import ScenarioError
from card.hardware import read_profile
from card.llm import block_costs, head_cost, public_config
from card.llm.architectures import architecture_of
from card.llm.cuts import profile_of
from card.llm.families import RUN
from card.profiling import (
    ceilings,
    machine,
)
from card.profiling import (
    energy as power,
)
from card.profiling import (
    measure as profile,
)
from card.profiling import (
    whole_llms as fidelity,
)
from card.profiling.timing import Limits
from card.scenario import Lora

RUNNABLE = [name for name in llm_names() if public_config(name)["model_type"] in RUN]


def settings(name, bits=32, **shape):
    mini_batch = training(activation_bits=bits, weight_bits=bits, **shape)
    targets = QUERY_AND_VALUE.get(name, ("q_proj", "v_proj"))
    return mini_batch, Lora(rank=3, targets=targets, adapter_bits=bits)


@lru_cache
def measured(name, bits=32, whole=False, further=(), dora=False):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profile, "public_config", narrow_config)
        patch.setattr(profile, "QUICK", Limits(2, 2, 0.0))
        # a processor without instructions for bfloat16 takes minutes for a large product
        patch.setitem(ceilings.PRODUCT_SIZE, "cpu", 256)
        patch.setitem(ceilings.COPY_BYTE, "cpu", 2**20)
        mini_batch, lora = settings(name, bits)
        lora = lora.model_copy(update={"dora": dora})
        more = [mini_batch.model_copy(update=dict(shape)) for shape in further]
        rest = {"quick": True, "whole": whole, "further": more, "echo": lambda _: None}
        return profile.measure(name, mini_batch, lora, **rest)


def expected(name, bits=32):
    arch = architecture_of(name, narrow_config(name))
    mini_batch, lora = settings(name, bits)
    first, other, *_ = block_costs(arch, mini_batch, lora)
    costs = {"first_block": first, "block": other, "head": head_cost(arch, mini_batch)}
    return costs, profile_of(arch, mini_batch, lora)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("name", RUNNABLE)
def test_counts_equal_the_closed_forms(name, bits):
    found, (costs, cuts) = measured(name, bits), expected(name, bits)
    for part, cost in costs.items():
        assert found.parts[part].forward_flop == cost.forward_flop
        assert found.parts[part].backward_flop == cost.backward_flop
        assert found.parts[part].saved_bit == cost.saved_bit
    assert found.parts["embedding"].flop == found.parts["embedding"].saved_bit == 0
    assert found.smashed_bit == cuts.downlink_bit[1]
    assert found.adapter_bit == cuts.adapter_bit[1]


def test_profile_of_dora_is_of_its_work_and_says_so():
    plain, found = measured("gpt-2"), measured("gpt-2", dora=True)
    assert (plain.settings.dora, found.settings.dora) == (False, True)
    # width 48, fused projection of 144, rank 3: an identity matrix through A and B, once
    more = found.parts["block"].forward_flop - plain.parts["block"].forward_flop
    assert more == 2 * 48 * 48 * 3 + 2 * 48 * 3 * 144
    assert found.adapter_bit - plain.adapter_bit == 32 * 144


@pytest.mark.parametrize("name", ["llama-3.2-1b", "gpt-2"])
def test_traffic_is_every_byte_once(name):
    (costs, cuts), found = expected(name), measured(name)
    weight_bit = 32 * (costs["block"].parameters + costs["block"].adapter_parameters)
    input_bit = output_bit = int(cuts.downlink_bit[1])
    # in float32 the first norm keeps the block's input itself, which is not counted again
    kept_bit = costs["block"].saved_bit - input_bit
    assert found.parts["block"].moved_bit == weight_bit + input_bit + output_bit + kept_bit
    assert found.parts["embedding"].moved_bit is None


@pytest.mark.slow
def test_recorded_fidelity_is_counted_again():
    record = json.loads((DATA / "fidelity.json").read_text("utf-8"))
    assert fidelity.counted(llm_names()) == record["llms"]


def test_ceilings_are_rates_of_work_that_was_done(monkeypatch):
    monkeypatch.setitem(ceilings.PRODUCT_SIZE, "cpu", 64)
    monkeypatch.setitem(ceilings.COPY_BYTE, "cpu", 2**20)
    monkeypatch.setattr(ceilings, "_best_s", lambda run, device: run() is None or 0.5)
    found = ceilings.ceilings("cpu", torch.float32)
    assert found.peak_flops == 2 * 64**3 / 0.5
    assert found.memory_byte_per_s == 2 * 2**20 / 0.5  # read once, written once


def test_best_time_is_the_shortest():
    pauses = iter([0.2, *[0.02] * 3, 0.0, *[0.02] * 3])
    assert ceilings._best_s(lambda: time.sleep(next(pauses)), "cpu") < 0.02


def test_fidelity_table():
    """The table that a reader of the log sees: model over measurement, minus one."""
    print("\nLLM             FLOP      smashed   adapter   memory")
    for name in RUNNABLE:
        found, (costs, cuts) = measured(name), expected(name)
        blocks = ("first_block", "block", "head")
        errors = (
            sum(costs[b].flop for b in blocks) / sum(found.parts[b].flop for b in blocks) - 1,
            cuts.downlink_bit[1] / found.smashed_bit - 1,
            cuts.adapter_bit[1] / found.adapter_bit - 1,
            sum(costs[b].saved_bit for b in blocks) / sum(found.parts[b].saved_bit for b in blocks)
            - 1,
        )
        print(f"{name:<14}", *(f"{error:8.2%} " for error in errors))
        assert errors == (0, 0, 0, 0)


def test_file_gives_the_same_profile(tmp_path):
    found, path = measured("llama-3.2-1b"), tmp_path / "narrow.json"
    path.write_text(found.model_dump_json(), encoding="utf-8")
    assert read_profile(path) == found


def test_every_mini_batch_is_counted_and_timed_by_itself():
    shapes = ((("batch_size", 1),), (("batch_size", 3), ("sequence_length", 16)))
    found = measured("llama-3.2-1b", further=shapes)
    arch, (mini_batch, lora) = (
        architecture_of("llama-3.2-1b", narrow_config("llama-3.2-1b")),
        settings("llama-3.2-1b"),
    )
    runs = [one.settings for one in found.at_points]
    assert [(run.batch_size, run.sequence_length) for run in runs] == [(2, 24), (1, 24), (3, 16)]
    for one in found.at_points:
        shape = one.settings.model_dump(include={"batch_size", "sequence_length"})
        _, cost, *_ = block_costs(arch, mini_batch.model_copy(update=shape), lora)
        assert one.parts["block"].flop == cost.flop
        tokens = shape["batch_size"] * shape["sequence_length"]
        assert one.smashed_bit == tokens * arch.hidden * 32


def test_what_a_processor_does_not_offer_is_absent_with_its_reason():
    found = measured("llama-3.2-1b")
    for part in found.parts.values():
        for reading in (part.device_s, part.launched_s):
            assert reading.value is None
            assert reading.reason == "a processor is not asked for its work beforehand"


def test_whole_step_is_predicted_from_its_parts():
    found = measured("llama-3.2-1b", whole=True)
    others = sum(found.parts[part].time_s for part in ("embedding", "first_block", "head"))
    blocks = narrow_config("llama-3.2-1b")["num_hidden_layers"]
    assert found.whole_step.predicted_s == others + (blocks - 1) * found.parts["block"].time_s


def test_whole_step_is_left_out_where_it_does_not_fit(monkeypatch):
    monkeypatch.setattr(profile, "public_config", narrow_config)
    monkeypatch.setattr(machine, "available_bit", lambda device: 1)
    monkeypatch.setattr(profile, "QUICK", Limits(1, 1, 0.0))
    lines = []
    found = profile.measure("gpt-2", *settings("gpt-2"), quick=True, echo=lines.append)
    assert found.whole_step is None
    assert any(line.startswith("whole step: left out; it needs") for line in lines)


def test_energy_is_absent_with_its_reason_without_zeus(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(power, "import_module", missing)
    for reading in power.energy_and_power("cpu", lambda: None):
        assert reading.value is None
        assert reading.reason == "zeus is not installed; pip install 'card-split-learning[energy]'"


def test_memory_and_clock_are_absent_with_their_reason(monkeypatch):
    def refused(*_args, **_keywords):
        raise PermissionError

    monkeypatch.setattr(machine.Path, "write_text", refused)
    monkeypatch.setattr(machine.Path, "read_text", refused)
    for reading in (
        machine.peak_memory_bit("cpu", lambda: None),
        machine.clock_hz("cpu", lambda: None),
    ):
        assert reading.value is None
        assert reading.reason


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"sequence_length": 100}, "sequence_length = 100 exceeds the 64 positions"),
        ({"weight_bits": 8}, "a profile needs all three 16, or all 32"),
    ],
)
def test_settings_that_do_not_fit_are_refused(monkeypatch, shape, message):
    monkeypatch.setattr(profile, "public_config", narrow_config)
    mini_batch, lora = settings("gpt-2")
    with pytest.raises(ScenarioError, match=message):
        profile.measure("gpt-2", mini_batch.model_copy(update=shape), lora)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ScenarioError, match="choose 'cpu'"):
        profile.measure("gpt-2", *settings("gpt-2", sequence_length=8), accelerator="cuda")
    with pytest.raises(ScenarioError, match="needs an NVIDIA GPU"):
        power.sweep_clocks(lambda: None)


def test_suited_settings_are_float32_on_a_processor():
    mini_batch, lora = settings("gpt-2", bits=16, sequence_length=512)
    short, adapters = profile.suited(mini_batch, lora, accelerator="cpu", quick=True)
    assert (short.activation_bits, short.weight_bits, adapters.adapter_bits) == (32, 32, 32)
    assert short.sequence_length == 64
    kept = profile.suited(mini_batch, lora, accelerator="cuda", quick=True)
    assert kept == (mini_batch.model_copy(update={"weight_bits": 16}), lora)


class TestPowerLaw:
    CLOCKS = (0.5e9, 1.0e9, 1.5e9, 2.0e9, 2.5e9)

    def law(self, clock):
        return 20.0 + 9.0e-27 * clock**3

    def test_recovers_a_known_law(self):
        powers = [self.law(clock) for clock in self.CLOCKS]
        fit = power.fit_power_law(self.CLOCKS[::-1], powers[::-1], [1e9 / c for c in self.CLOCKS])
        assert fit.clocks_hz == self.CLOCKS
        # least squares in double precision
        assert fit.static_power_w == pytest.approx(20.0, rel=1e-9)
        assert fit.power_coefficient == pytest.approx(9.0e-27, rel=1e-9)
        assert fit.residuals_w == pytest.approx((0,) * 5, abs=1e-9)
        assert fit.holds_from_hz == 0.5e9

    def test_says_from_where_on_it_holds(self):
        powers = [2 * self.law(0.5e9), *map(self.law, self.CLOCKS[1:])]
        fit = power.fit_power_law(self.CLOCKS, powers, [1.0] * 5)
        assert fit.holds_from_hz is not None
        assert fit.holds_from_hz > 0.5e9
        missed = abs(fit.residuals_w[0])
        assert missed > 0.1 * powers[0]

    def test_says_that_it_holds_nowhere(self):
        fit = power.fit_power_law(self.CLOCKS, [90, 70, 50, 30, 10], [1.0] * 5)
        assert fit.holds_from_hz is None
        assert fit.power_coefficient == 0

    @pytest.mark.parametrize("count", [0, 2])
    def test_needs_three_clocks(self, count):
        with pytest.raises(ScenarioError, match="three clocks or more"):
            power.fit_power_law(self.CLOCKS[:count], [1.0] * count, [1.0] * count)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "olmo2"}, "its blocks cannot be profiled one by one yet"),
        ({"model_type": "bloom"}, "its blocks cannot be profiled one by one yet"),
        ({"rope_scaling": {"rope_type": "none such", "factor": 2}}, "^mine: transformers cannot"),
        ({"pad_token_id": 10**6}, "^mine: transformers cannot make this LLM"),
    ],
)
def test_an_llm_that_cannot_be_run_is_refused_before_anything_is_measured(
    monkeypatch, tmp_path, changes, message
):
    monkeypatch.setattr(machine, "machine", lambda _: pytest.fail("it began to measure"))
    file = own_llm(tmp_path / "mine.json", "tiny-llama-0.5m", _name_or_path="mine", **changes)
    with pytest.raises(ScenarioError, match=message) as refusal:
        profile.measure(str(file), *settings("tiny-llama-0.5m"), quick=True)
    assert "\n" not in str(refusal.value)
    with pytest.raises(ScenarioError, match=message):
        profile.block_work(str(file), *settings("tiny-llama-0.5m"))


def test_profile_of_an_own_llm_knows_it_by_its_title_wherever_its_file_lies(monkeypatch, tmp_path):
    monkeypatch.setattr(profile, "QUICK", Limits(1, 1, 0.0))
    monkeypatch.setitem(ceilings.PRODUCT_SIZE, "cpu", 256)
    monkeypatch.setitem(ceilings.COPY_BYTE, "cpu", 2**20)
    file = own_llm(tmp_path / "mine.json", "tiny-llama-0.5m")
    rest = {"quick": True, "whole": False, "echo": lambda _: None}
    found = profile.measure(str(file), *settings("tiny-llama-0.5m"), **rest)
    assert found.settings.llm == "mine"
