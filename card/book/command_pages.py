"""Writes the reference of the command line from the command itself, as `--help` tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any


def commands_page(group: Any) -> str:
    """What every command of `card`, a group of Click's, does and takes, each under its heading."""
    with group.make_context("card", [], resilient_parsing=True) as context:
        parts = [_command(group.get_command(context, one), context) for one in group.commands]
    return "\n\n".join(parts)


def _command(command: Any, parent: Any) -> str:
    """Heading, purpose, usage and a list of what one command takes."""
    path = f"{parent.info_name} {command.name}"
    context = command.make_context(command.name, [], parent=parent, resilient_parsing=True)
    taken = [p for p in command.params if p.param_type_name == "argument"]
    taken += [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join([path, *_usage(taken, context)])
    items = [_item(parameter, context) for parameter in taken]
    return "\n\n".join([f"## `{path}`", command.help, f"`{usage}`", *items])


def _usage(taken: list[Any], context: Any) -> Iterator[str]:
    for parameter in taken:
        word = _word(parameter, context)
        if parameter.required:
            yield word
        elif parameter.param_type_name == "argument":
            yield f"[{word}]"
    if not all(parameter.required for parameter in taken):
        yield "[OPTIONS]"


def _word(parameter: Any, context: Any) -> str:
    """How a parameter is written in a shell."""
    word: str = parameter.get_help_record(context)[0]
    if parameter.param_type_name == "argument":
        return word.partition(" ")[0].strip("[]{}").upper()
    return word.replace(" range>", ">")


def _item(parameter: Any, context: Any) -> str:
    """Entry of a definition list: a parameter, what it is for, and its default or limits."""
    told, _, rest = parameter.get_help_record(context)[1].partition("  [")
    more = [_condition(text) for text in rest.removesuffix("]").split("; ") if text]
    return f"`{_word(parameter, context)}`\n: " + " ".join([told, *more])


def _condition(text: str) -> str:
    """What `--help` says in brackets behind a parameter, as a sentence."""
    kind, _, value = text.partition(": ")
    if kind == "default":
        return f"Default: `{value}`."
    least, most = re.match(r"(\S+)<=x", text), re.search(r"x<=(\S+)", text)
    return f"From {least[1]} to {most[1]}." if least and most else f"{text.capitalize()}."
