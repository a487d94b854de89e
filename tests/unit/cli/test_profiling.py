"""`card profile` and `card leakage`: an LLM that cannot be run is refused before any work."""

import pytest
from own_llms import own_llm_study
from typer.testing import CliRunner

from card.cli import app
from card.costs import arrays

COMMANDS = [
    ["profile", "--quick"],
    ["profile", "--clocks", "--accelerator", "cuda"],
    ["leakage"],
    ["bits"],
]
FAMILIES = ["mistral", "qwen3_moe", "rwkv", None]


@pytest.mark.parametrize(
    ("family", "arguments"),
    [*(("bloom", command) for command in COMMANDS), *((one, COMMANDS[0]) for one in FAMILIES)],
)
def test_an_llm_that_cannot_be_run_is_refused_before_work(family, arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "cut_profile", lambda _: pytest.fail("it was counted"))
    study = own_llm_study(tmp_path, model_type=family)
    command, *options = arguments
    result = CliRunner().invoke(app, [command, str(study), *options])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: llm = ")
    said = "null" if family is None else repr(family)
    assert line.endswith(
        f": its blocks cannot be profiled one by one yet (model_type = {said}); "
        f"give an LLM of one of llama, qwen2, gemma2, gpt2."
    )
    assert result.stdout == ""
