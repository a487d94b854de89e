"""The reference of the command line says what the commands say of themselves."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from card.book.command_pages import commands_page
from card.cli import app

GROUP = get_command(app)
PAGE = (Path(__file__).parents[3] / "book" / "command-line.md").read_text("utf-8")
CALLS = re.search(r"^```sh\n(.*?)^```", PAGE, re.M | re.S)[1].replace("\\\n", "").splitlines()


@pytest.fixture(scope="module")
def sections():
    """Text of the generated page by command."""
    parts = re.split(r"^## `card (\S+)`$", commands_page(GROUP), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_has_a_section_for_every_command_in_order(sections):
    assert list(sections) == list(GROUP.commands)


@pytest.mark.parametrize("name", GROUP.commands)
def test_a_section_says_what_the_command_does_and_takes(sections, name):
    command, text = GROUP.commands[name], sections[name]
    assert command.help in text
    options = [p for p in command.params if p.param_type_name == "option"]
    listed = re.findall(r"^`(--\S+).*`\n: ", text, re.M)
    assert listed == [option.opts[0] for option in options]
    assert [option.help for option in options if option.help not in text] == []
    assert text.count("\n: ") == len(command.params)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("solve", "`card solve SCENARIO --device <"),
        ("profile", "`card profile [SCENARIO] [OPTIONS]`"),
        ("compare", "`card compare A B [OPTIONS]`"),
        ("pdf", "`card pdf [SCENARIO] [OPTIONS]`"),
        ("schema", "`card schema`"),
        ("serve", "Where the server listens. Default: `127.0.0.1:7070`."),
        ("serve", "Rounds in all. Default: `10`. From 1 to 1000000000."),
        ("join", "Text file to fine-tune on; it stays here. Required."),
    ],
)
def test_usage_defaults_and_limits_read_as_sentences(sections, name, said):
    assert said in sections[name]


def test_shows_one_call_of_each_command():
    assert [call.split()[1] for call in CALLS] == list(GROUP.commands)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_one_that_the_command_takes(call):
    _, name, *arguments = shlex.split(call)
    with GROUP.commands[name].make_context(name, arguments) as context:
        assert not context.args
