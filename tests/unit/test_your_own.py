"""The page on bringing one's own things runs from top to bottom, where only the wheel is."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from core_only import build, environment

for module in ("matplotlib", "netCDF4", "pandas", "jinja2"):
    pytest.importorskip(module)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "book" / "your-own.md").read_text("utf-8")
STEPS = re.findall(
    r"^```(?:\{code-block\} \w+\n:caption: (\S+)\n|bash\n)(.*?)^```", PAGE, re.M | re.S
)


@pytest.mark.slow
def test_every_file_and_command_of_the_page_works_in_its_order(tmp_path):
    wheel = build("wheel", ROOT, tmp_path / "wheel")
    python = environment(tmp_path / "venv", "book", "export", "sweep", wheel=wheel)
    folder = tmp_path / "mine"
    folder.mkdir()
    said = []
    for file, text in STEPS:
        if file:
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text.lstrip("\n"), "utf-8")
            continue
        for line in text.splitlines():
            command = [python, "-I", "-m", *shlex.split(line)]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
            assert not done.stderr or "Error" not in done.stderr
            said.append(done.stdout)
    assert sum("│ mine " in text for text in said) == 3, "two simulations and the scorecard"
    assert sum("phone-01" in text for text in said) == 0, "a fleet is shown as one"
    assert (folder / "cuts.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "comparison.pdf").read_bytes().startswith(b"%PDF")
    assert "mine & " in (folder / "table.tex").read_text("utf-8")
    assert "mine" in (folder / "scores.csv").read_text("utf-8")


def test_the_page_has_files_and_commands():
    files = [file for file, _ in STEPS if file]
    assert files == [
        "my-llm/config.json", "my-board.yml", "my-server.yml", "my_policy.py", "my-study.yml",
        "my-fleet.yml", "my-rates.csv",
    ]  # fmt: skip
    assert sum(not file for file, _ in STEPS) == 6
