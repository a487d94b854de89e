"""Whatever is typed, or lies in a file that is read, ends in an answer or in one clear refusal.

`CARD_EXAMPLES=10000` draws that many cases each, instead of as many as the profile says.
"""

import json
import os
import tempfile
from contextlib import chdir
from pathlib import Path

import pytest
from any_bytes import changed
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command
from typer.testing import CliRunner

import card
from card.base.errors import ScenarioError
from card.cli import app

COMMANDS = get_command(app).commands
NEVER_RUN = {"book", "pdf", "serve", "join", "profile"}
"""What builds, trains or measures; only a scenario that does not exist is asked of them."""

drawn_often = settings(
    max_examples=int(os.environ.get("CARD_EXAMPLES", settings().max_examples // 4))
)

# no slash: nothing is written outside the folder of a test
words = st.text(st.characters(exclude_characters="/\\"), max_size=12) | st.binary(max_size=8).map(
    lambda data: os.fsdecode(data).replace("/", "").replace("\\", "")
)
odd = st.sampled_from(
    """0 1 -1 2 1.5 nan inf -inf 1e400 1e-400 1e30 -0.0 99999999999999999999999999 0x10 null true []
    {} [1] [1,2] [[]] "" ' a=b : - # * & ! !!python/object:x ../.. ~""".split()  # noqa: SIM905
)
PATHS = [
    "objective.delay_weight", "link.bandwidth_hz", "lora.rank", "training.batch_size", "llm",
    "training.cut_range", "server.clocks_hz", "server.hardware", "devices.device-1.distance_m",
    "simulation.rounds", "simulation.seed", "devices", "channel_states", "title", "sources", "",
    "link.reference_loss_db", "server.static_power_w", "devices.device-1", "server.utilisation",
]  # fmt: skip
values = odd | words | st.integers().map(str) | st.floats().map(repr)
settings_of = st.builds("{}={}".format, st.sampled_from(PATHS) | words, values) | values
files = st.sampled_from(
    ["folder", "nowhere/x", "/dev/null", "/dev/full", "ok.nc", "a.svg", "a.zarr"]
)
scenarios = st.sampled_from(["nominal", "nominal", "bigger-llm", "folder", "bad.yml", "nominl"])
small = st.sampled_from(["1", "2", "0", "-1", "nan", "1e9", "9" * 30, ""]) | words


def argument(parameter):
    """Values of one parameter, most of them wrong."""
    name = parameter.name
    if name in ("settings", "over"):
        return settings_of
    if name in ("rounds", "seed"):
        return small
    if name in ("scenario", "study", "first", "second", "base"):
        return scenarios | words
    if name in ("output", "figure", "html", "folder", "certs"):
        return files | words
    if name == "dask":
        return st.just("nonsense://x") | words.filter(lambda word: not any(map(str.isalnum, word)))
    return values | st.sampled_from(["device-1", "good", "card", "numpy", "cpu-epyc-2-cores"])


@st.composite
def lines(draw):
    """Arguments of the command line."""
    name = draw(st.sampled_from(sorted(COMMANDS)) | words)
    given_arguments = [name]
    for parameter in getattr(COMMANDS.get(name), "params", ()):
        if name in NEVER_RUN and parameter.name in ("scenario", "study"):
            given_arguments.append("nominl")
        elif parameter.param_type_name == "argument":
            given_arguments.append(draw(argument(parameter)))
        elif draw(st.integers(0, 2)) == 0:
            option = draw(st.sampled_from(parameter.opts))
            flag = getattr(parameter, "is_flag", False)
            given_arguments += [option] if flag else [option, draw(argument(parameter))]
    if name == "profile":
        given_arguments += ["--compare", draw(values)]
    if name in ("simulate", "compare", "sweep"):
        given_arguments += ["--rounds", draw(small)]
    return given_arguments


@drawn_often
@given(line=lines())
def test_the_command_line_answers_or_refuses(line):
    with tempfile.TemporaryDirectory() as place, chdir(place):
        Path("folder").mkdir()
        Path("bad.yml").write_bytes(b"base: nominal\n\xff")
        result = CliRunner().invoke(app, line)
        assert result.exception is None or isinstance(result.exception, SystemExit), line
        assert result.exit_code in (0, 1, 2), line
        assert "Traceback" not in result.output
        if result.exit_code == 2:
            assert result.stderr.strip(), line
        elif result.exit_code == 0 and "--json" in line and "--help" not in line:
            json.loads(result.stdout)


@pytest.fixture(scope="module")
def sweep_file(tmp_path_factory):
    pytest.importorskip("netCDF4")
    pytest.importorskip("zarr")
    file = tmp_path_factory.mktemp("sweep") / "x.nc"
    small_sweep(file).close()
    return file.read_bytes()


def small_sweep(file):
    scenario = card.load_scenario("nominal")
    return card.sweep(scenario, {"objective.delay_weight": [0.5]}, ["card"], 1, output=file)


@drawn_often
@given(data=st.data())
def test_a_sweep_is_read_or_refused(sweep_file, data):
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "x.nc"
        content = data.draw(changed(sweep_file))
        file.write_bytes(content)
        try:
            with small_sweep(file) as found:
                found.load()
        except ScenarioError as error:
            assert "\n" not in str(error)  # noqa: PT017
        assert file.read_bytes() == content
