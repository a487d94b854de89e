"""Numbers in few bits: as many as the model counts, as near as a step, and right on average."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import card

pytest.importorskip("grpc")
torch = pytest.importorskip("torch")

from card.training.wire.quantised import Form, Forms
from card.training.wire.tensors import WireError, decode, encode, payload_bit, specs

SHAPE, GROUP = (2, 3, 40), 16


def values(shape=SHAPE, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def steps_of(form, sent):
    """Size of a step at each number of what was sent."""
    scales = sent["hidden.scales"].float().repeat_interleave(form.group, dim=-1)
    return scales[..., : form.shape[-1]]


shapes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 50))


@st.composite
def anything(draw):
    """A form, and finite numbers for it, over many orders of magnitude."""
    shape, bits, group = draw(shapes), draw(st.sampled_from([4, 8])), draw(st.integers(1, 70))
    exponents = st.integers(-12, 4)
    each = st.builds(lambda x, e: x * 10.0**e, st.floats(-1, 1, width=32), exponents)
    count = math.prod(shape)
    numbers = draw(st.lists(each, min_size=count, max_size=count))
    return Form(bits, group, shape), torch.tensor(numbers).reshape(shape)


class TestPayload:
    @pytest.mark.parametrize("group", [1, 48, 64, 1000])
    @pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
    @pytest.mark.parametrize("bits", [4, 8, 16, 32])
    def test_is_the_model_s_to_the_bit(self, bits, topology, group):
        wire = {"uplink_bits": [bits], "downlink_bits": [bits], "group": group}
        chosen = card.load_scenario("test-bed", **{"wire": wire, "training.topology": topology})
        profile, training = card.cut_profile(chosen), chosen.training
        shape = (training.batch_size, training.sequence_length, chosen.llm_config["hidden_size"])
        forms = Forms(*[Form(bits, group, shape)] * 2, seed=0)
        one = payload_bit(forms.up.written(values(shape)))
        gradient = payload_bit(forms.down.written(values(shape), forms.noise(1), forms.gain))
        labels = 0 if topology == "u-shaped" else 32 * shape[0] * shape[1]
        twice = topology == "u-shaped"
        assert profile.uplink_bit[2] == (1 + twice) * one + labels
        assert profile.downlink_bit[2] == (1 + twice) * gradient

    def test_of_an_odd_number_of_half_bytes_ends_with_a_whole_byte(self):
        sent = Form(4, 64, (1, 1, 5)).written(values((1, 1, 5)))
        assert payload_bit(sent) == 5 * 4 + 4 + 16

    @given(anything())
    def test_crosses_as_specified(self, drawn):
        form, numbers = drawn
        sent = form.written(numbers)
        assert specs(sent) == form.specs
        back = form.read(decode(encode(sent), form.specs))
        assert torch.equal(back, form.read(sent))
        assert back.shape == numbers.shape


class TestToTheNearest:
    @given(anything())
    def test_nothing_is_further_off_than_half_a_step(self, drawn):
        form, numbers = drawn
        sent = form.written(numbers)
        error = (form.read(sent) - numbers).abs()
        # and float32's rounding of the product of step and scale
        assert (error <= 0.5 * steps_of(form, sent) + 1e-6 * numbers.abs()).all()

    @given(anything())
    def test_a_scale_is_the_least_float16_that_reaches_the_largest_number(self, drawn):
        form, numbers = drawn
        most = 2 ** (form.bits - 1) - 1
        for column in range(0, form.shape[-1], form.group):
            peak = numbers[..., column : column + form.group].abs().amax(dim=-1)
            scale = form.written(numbers)["hidden.scales"][..., column // form.group]
            assert (scale.float() * most >= peak).all()
            below = (scale.view(torch.int16) - 1).clamp_min(0).view(torch.float16)
            assert ((below.float() * most < peak) | (peak == 0)).all()

    @pytest.mark.parametrize("bits", [4, 8])
    def test_peaks_come_back_with_either_sign(self, bits):
        row = torch.tensor([[[-3.5, 3.5, 1.0, 0.0]]])
        back = Form(bits, 4, (1, 1, 4)).read(Form(bits, 4, (1, 1, 4)).written(row))
        assert torch.equal(back[..., :2], row[..., :2]) == (bits == 4)  # 3.5 / 7 is a float16
        assert back[0, 0, 0] == -back[0, 0, 1]
        assert back[0, 0, 3] == 0

    @pytest.mark.parametrize("bits", [4, 8])
    def test_zeros_stay_zeros(self, bits):
        form = Form(bits, GROUP, SHAPE)
        assert not form.read(form.written(torch.zeros(SHAPE))).any()

    @pytest.mark.parametrize("bits", [4, 8])
    def test_one_value_is_its_own_scale(self, bits):
        form = Form(bits, GROUP, (1, 1, 1))
        back = form.read(form.written(torch.tensor([[[0.3]]])))
        assert float(back) == pytest.approx(0.3, rel=2**-10)  # a float16 has 11 bits

    def test_16_bits_are_bfloat16_and_32_as_they_are(self):
        assert torch.equal(Form(32, 64, SHAPE).written(values())["hidden"], values())
        (sent,) = Form(16, 64, SHAPE).written(values()).values()
        assert torch.equal(sent, values().bfloat16())


class TestAtRandom:
    @pytest.mark.parametrize("bits", [4, 8])
    def test_the_mean_is_the_number_itself(self, bits):
        form, numbers, noise, times = Form(bits, GROUP, SHAPE), values(), Forms, 2000
        noise = torch.Generator().manual_seed(1)
        drawn = [form.read(form.written(numbers, noise)) for _ in range(times)]
        step = steps_of(form, form.written(numbers))
        off = (torch.stack(drawn).mean(dim=0) - numbers) / step
        # a draw is off by a standard deviation of half a step at most; five of the mean's
        assert off.abs().max() < 5 * 0.5 / math.sqrt(times)
        # rounding to the nearest would be off by much more
        assert ((form.read(form.written(numbers)) - numbers) / step).abs().max() > 0.4

    @given(anything(), st.integers(0, 2**32))
    def test_nothing_is_further_off_than_a_step(self, drawn, seed):
        form, numbers = drawn
        sent = form.written(numbers, torch.Generator().manual_seed(seed))
        error = (form.read(sent) - numbers).abs()
        assert (error <= steps_of(form, sent) * (1 + 1e-6) + 1e-6 * numbers.abs()).all()

    def test_the_same_key_gives_the_same_noise_and_another_one_another(self):
        form = Form(4, GROUP, SHAPE)
        sent = [form.written(values(), Forms(form, form, 7).noise(*key)) for key in [(1, 2)] * 2]
        other = form.written(values(), Forms(form, form, 7).noise(1, 3))
        assert torch.equal(sent[0]["hidden.steps"], sent[1]["hidden.steps"])
        assert not torch.equal(sent[0]["hidden.steps"], other["hidden.steps"])

    def test_gradients_of_a_mean_over_many_tokens_do_not_vanish(self):
        form = Form(8, 64, (8, 512, 64))
        tiny = 1e-8 * values(form.shape)
        forms = Forms(form, form, 0)
        assert forms.gain == 4096
        for gain, lost in ((1.0, True), (forms.gain, False)):
            error = (form.read(form.written(tiny, None, gain), gain) - tiny).norm() / tiny.norm()
            assert (error > 0.3) == lost


class TestRefusals:
    @pytest.mark.parametrize("bits", [4, 8])
    @pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan])
    def test_of_what_is_not_finite(self, bits, wrong):
        numbers = values()
        numbers[1, 2, 39] = wrong
        with pytest.raises(WireError, match=f"not finite cannot be sent in {bits} bits"):
            Form(bits, GROUP, SHAPE).written(numbers)

    def test_of_what_no_scale_reaches(self):
        largest = 65504.0 * 7
        form = Form(4, GROUP, (1, 1, 1))
        assert form.read(form.written(torch.full((1, 1, 1), largest))) == largest
        with pytest.raises(WireError, match=r"numbers up to 4.59e\+05 cannot be sent in 4 bits"):
            form.written(torch.full((1, 1, 1), largest * 1.001))

    @pytest.mark.parametrize("scale", [-1.0, math.nan, math.inf])
    def test_of_scales_that_nobody_writes(self, scale):
        form = Form(8, GROUP, SHAPE)
        forged = form.written(values())
        forged["hidden.scales"][0, 0, 0] = scale
        with pytest.raises(WireError, match="a scale is not a number from 0 on"):
            form.read(forged)

    @pytest.mark.parametrize(("bits", "lowest"), [(8, -128), (4, 0x88)])
    def test_of_steps_that_nobody_writes(self, bits, lowest):
        form = Form(bits, GROUP, SHAPE)
        forged = form.written(values())
        forged["hidden.steps"].view(-1)[0] = lowest
        with pytest.raises(WireError, match=f"a step is -{2 ** (bits - 1)}"):
            form.read(forged)
