"""What a machine computes in is its own affair: the other end sees no difference in form."""

import pytest

torch = pytest.importorskip("torch")

import card
from card.training.agreement import Job
from card.training.llm import computing
from card.training.llm.computing import compute_fast
from card.training.llm.split import Batch
from card.training.wire.tensors import specs

SIXTEEN = {
    "training.weight_bits": 16, "training.activation_bits": 16, "lora.adapter_bits": 16,
}  # fmt: skip
CUT = 2


def job(**changes):
    return Job.open(card.load_scenario("test-bed", **SIXTEEN | changes))


@pytest.fixture
def slow_bfloat16(monkeypatch):
    times = {torch.bfloat16: 1.0, torch.float32: 0.01}
    monkeypatch.setattr(computing, "product_s", lambda dtype, device: times[dtype])


def mini_batch(device, server):
    """Loss, what crosses the link up and down, for one mini-batch over two ends."""
    ids = torch.arange(4 * 64).reshape(4, 64) % 500
    side = device.device_side(CUT)
    up = side.forward(Batch(ids))
    loss, down = server.server_side(CUT).train(up)
    side.backward(down)
    return loss, specs(up), specs({"hidden": down})


@pytest.mark.usefixtures("slow_bfloat16")
@pytest.mark.parametrize("fast_server", [False, True])
def test_ends_that_compute_in_different_formats_train_as_ends_that_do_not(fast_server):
    device, server, plain = job(), job(), job()
    said = compute_fast(device.llm)
    assert said.startswith("computing in float32, 100 times as fast")
    if fast_server:
        compute_fast(server.llm)
    assert device.hello("device-1") == plain.hello("device-1")
    assert specs(device.llm.adapters(0, 4)) == specs(plain.llm.adapters(0, 4))
    loss, up, down = mini_batch(device, server)
    wanted, up_agreed, down_agreed = mini_batch(plain, job())
    assert (up, down) == (up_agreed, down_agreed)
    assert loss == pytest.approx(wanted, rel=2e-2)  # bfloat16 has eight bits
    for name, weight in device.llm.adapters(0, CUT).items():
        assert weight.dtype == torch.bfloat16, name


@pytest.mark.usefixtures("slow_bfloat16")
def test_weights_in_float32_stay_as_they_are():
    own = Job.open(card.load_scenario("test-bed"))
    assert compute_fast(own.llm) is None
    assert own.llm.dtype == torch.float32


def test_fast_bfloat16_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(computing, "product_s", lambda dtype, device: 1.0)
    own = job()
    assert compute_fast(own.llm) is None
    assert own.llm.dtype == torch.bfloat16


def test_is_measured_within_a_fraction_of_a_second():
    assert 0 < computing.product_s(torch.float32, torch.device("cpu")) < 1
