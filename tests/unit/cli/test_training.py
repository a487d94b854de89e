"""`card serve`, `card join` and `card certs` load what takes seconds only once they need it."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
from commands import refusal


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "test-bad"], "scenario = 'test-bad' is neither shipped nor"),
        (["serve", "test-bed", "--set", "lora.rank=0"], "lora.rank = 0 is not allowed"),
        (["join", "--device", "device-9", "--data", "x"], "device = 'device-9' is unknown"),
    ],
)
def test_what_needs_no_llm_is_refused_before_its_libraries_are_loaded(
    arguments, message, monkeypatch
):
    monkeypatch.setitem(sys.modules, "card.training.agreement", None)  # cannot be imported
    assert message in refusal(*arguments)


@pytest.mark.skipif(not find_spec("grpc"), reason="needs the extra lab")
def test_certificates_are_made_without_torch(tmp_path):
    code = (
        "import sys; from card.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "certs", str(tmp_path / "certificates")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "certificates/ca.pem").is_file()


@pytest.mark.skipif(not find_spec("torch"), reason="needs the extra lab")
def test_the_extra_that_serves_metrics_is_named_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # cannot be imported
    monkeypatch.setitem(sys.modules, "card.training.agreement", None)
    found = refusal("serve", "--folder", tmp_path, "--metrics-port", "9464")
    assert "--metrics-port needs prometheus_client, which is not installed" in found
    assert "pip install 'card-split-learning[metrics]'" in found
    assert list(tmp_path.iterdir()) == []
