"""What is believed of the other end is what an honest one could send, and all of that."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import card
from card.training import trust
from card.training.llm.split import optimiser
from card.training.trust import (
    BETAS,
    BREACHES,
    LARGEST,
    BreachError,
    Conduct,
    DivergedError,
    PeerDivergedError,
    believed_s,
    check_arrived,
    check_assignment,
    check_own,
    check_silence,
    check_trained,
    moved_at_most,
)
from card.training.wire.stream import PeerGone, PeerRefused, PeerStalled
from card.training.wire.wire_pb2 import Assignment

RATE = 1e-2
FORMATS = [torch.float32, torch.bfloat16]


def trained(gradients, dtype, start=0.0):
    """A weight per column before and after AdamW had these gradients, (steps, weights)."""
    weight = torch.nn.Parameter(torch.full((gradients.shape[1],), start, dtype=dtype))
    before, update = weight.detach().clone(), optimiser([weight], RATE)
    for gradient in gradients:
        weight.grad = gradient.to(dtype)
        update.step()
    return {"w": before}, {"w": weight.detach()}


class TestBoundOfAdamW:
    def test_has_the_decays_of_the_optimiser(self):
        assert optimiser([torch.nn.Parameter(torch.zeros(1))], RATE).defaults["betas"] == BETAS

    def test_is_the_learning_rate_for_one_step(self):
        assert moved_at_most(RATE, 1) == pytest.approx(RATE, rel=1e-12)

    def test_grows_by_the_known_limit_of_a_late_step(self):
        first, second = BETAS
        late = (1 - first) / math.sqrt((1 - second) * (1 - first**2 / second))
        last = moved_at_most(1.0, 20_000) - moved_at_most(1.0, 19_999)
        assert last == pytest.approx(late, rel=1e-6)

    def test_is_reached_by_gradients_that_grow_as_derived(self):
        """So a smaller bound would turn an honest device away."""
        growing = (BETAS[1] / BETAS[0]) ** torch.arange(8.0)
        before, after = trained(growing[:, None], torch.float32)
        assert float((after["w"] - before["w"]).abs()) == pytest.approx(
            moved_at_most(RATE, 8), rel=1e-5
        )

    @pytest.mark.parametrize("dtype", FORMATS)
    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(1, 40), st.integers(0, 2**32), st.floats(-20, 20),
        st.floats(0, 8), st.sampled_from([0.0, 1e-3, 0.5, 3.0]),
    )  # fmt: skip
    def test_lets_every_honest_device_through(self, dtype, steps, seed, scale, spread, start):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(steps, 50, generator=generator)
        drawn = drawn * torch.exp(scale + spread * torch.randn(steps, 1, generator=generator))
        before, after = trained(drawn, dtype, start)
        check_trained(before, after, RATE, steps)

    @pytest.mark.parametrize("dtype", FORMATS)
    @pytest.mark.parametrize("moved", [3e38, 1.0, 3 * 8.1 * RATE])
    def test_stops_what_no_training_could_do(self, dtype, moved):
        before = {"w": torch.zeros(4, 4, dtype=dtype)}
        after = {"w": before["w"].clone()}
        after["w"][1, 2] = moved
        with pytest.raises(BreachError, match=r"'w' has a weight that moved by .* than AdamW can"):
            check_trained(before, after, RATE, 8)


class TestTensors:
    @pytest.mark.parametrize("value", [0.0, -1e4, LARGEST])
    def test_that_can_be_are_believed(self, value):
        tensors = {"hidden": torch.full((2, 3), value), "none": torch.zeros(0)}
        check_arrived(tensors)
        check_own(tensors)

    @pytest.mark.parametrize("dtype", FORMATS)
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, -2 * LARGEST])
    def test_that_cannot_are_named(self, dtype, value):
        tensors = {"hidden": torch.zeros(2, 3, dtype=dtype)}
        tensors["hidden"][1, 1] = value
        with pytest.raises(BreachError, match="tensor 'hidden' holds"):
            check_arrived(tensors)
        with pytest.raises(DivergedError, match="tensor 'hidden' holds"):
            check_own(tensors)

    def test_of_masked_labels_alone_are_refused(self):
        labels = torch.full((2, 4), -100, dtype=torch.int32)
        labels[:, 0] = 7  # the first of a sequence is nothing's next token
        with pytest.raises(BreachError, match="all labels are masked"):
            check_arrived({"labels": labels})
        labels[1, 1] = 7
        check_arrived({"labels": labels})


@pytest.mark.parametrize("claimed_s", [0.0, 1.5, 2.9])
def test_time_within_what_passed_is_believed(claimed_s):
    assert believed_s(claimed_s, 2.0) == claimed_s


@pytest.mark.parametrize("claimed_s", [-1.0, 3.1, math.nan, math.inf, 1e300])
def test_time_beyond_what_passed_is_not(claimed_s):
    with pytest.raises(BreachError, match=r"within 2\.0 s"):
        believed_s(claimed_s, 2.0)


SCENARIO = card.load_scenario("test-bed")
AGREED = {
    "round": 1, "cut": 2, "iterations": SCENARIO.training.local_iterations,
    "learning_rate": RATE, "frequency_hz": 1e9, "seed": SCENARIO.simulation.seed,
}  # fmt: skip


class TestAssignment:
    def test_that_was_agreed_is_taken(self):
        check_assignment(Assignment(**AGREED), SCENARIO, deepest=3)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("round", 0), ("cut", 99), ("cut", 4), ("iterations", 0), ("iterations", 10**9),
            ("learning_rate", math.nan), ("learning_rate", math.inf), ("learning_rate", -1),
            ("learning_rate", 1e9), ("frequency_hz", math.nan), ("frequency_hz", -1),
            ("seed", 2**64 - 1),
        ],
    )  # fmt: skip
    def test_that_was_not_is_named(self, name, value):
        with pytest.raises(BreachError, match=f"^{name} = .* came, where .* is agreed$"):
            check_assignment(Assignment(**AGREED | {name: value}), SCENARIO, deepest=3)

    @pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 1e300])
    def test_time_out_that_nobody_waits_by_is_refused(self, value):
        with pytest.raises(BreachError, match="timeout_s = "):
            check_silence(value)


class TestConduct:
    def test_sets_aside_who_breaks_the_agreement_again_and_again(self):
        conduct = Conduct()
        for _ in range(BREACHES - 1):
            assert conduct.note("a", BreachError("lies")) is None
        assert conduct.note("b", BreachError("lies")) is None
        assert f"after {BREACHES} bad rounds: lies" in conduct.note("a", BreachError("lies"))
        assert conduct.aside("a")
        assert conduct.aside("b") is None

    @pytest.mark.parametrize("error", [PeerRefused("no"), PeerDivergedError("nan")])
    def test_takes_a_device_at_its_word(self, error):
        assert "will not go on" in Conduct().note("a", error)

    @pytest.mark.parametrize("error", [PeerGone("gone"), PeerStalled("silent")])
    def test_holds_no_bad_link_against_a_device(self, error):
        conduct = Conduct()
        assert [conduct.note("a", error) for _ in range(2 * BREACHES)] == [None] * 2 * BREACHES


def test_the_command_line_allows_the_same_learning_rates():
    from card.cli.training import Step

    assert trust.LARGEST_STEP in [limit.le for limit in Step.__metadata__[-1].metadata]
