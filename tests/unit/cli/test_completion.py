"""What a shell is told when a command line is to be completed."""

import pytest
from typer.testing import CliRunner

from card.cli import app


def completed(monkeypatch, *words):
    """What may stand in place of the last word."""
    monkeypatch.setenv("_CARD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    result = CliRunner().invoke(app, prog_name="card")
    assert result.exit_code == 0, result.exception
    return result.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["sol"], ["solve"]),
        (["solve", "nom"], ["nominal"]),
        (["solve", "my"], ["my-study.yml"]),
        (["compare", "nominal", "big"], ["bigger-llm"]),
        (["check", "nominal", "big"], ["bigger-llm"]),
        (["book", "cong"], ["congested-campus"]),
        (["certs", "x", "--scenario", "test"], ["test-bed"]),
        (["new", "x", "--base", "nom"], ["nominal"]),
        (["sweep", "nominal", "--policies", "card,clock"], ["card,clock_only"]),
        (["simulate", "nominal", "--policies", "cut"], ["cut_only"]),
        (["nosuch", "nom"], []),
        (["solve", "nominal", "--device", "a", "--device", "b", "--js"], ["--json"]),
    ],
    ids=" ".join,
)
def test_names_are_completed(words, found, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-study.yml").touch()
    assert completed(monkeypatch, "card", *words) == found
