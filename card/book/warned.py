"""Tells the warnings of a chapter as `card` does: once each, by their words, without any path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from card.base.errors import ScenarioWarning
from card.base.one_file import is_installed

# as `warnings.formatwarning` writes it: the place, the kind, the words, and the line of source
_WARNING = re.compile(
    r"^(?P<file>\S.*?):\d+: (?P<kind>\w*Warning): (?P<text>.*)\n?(?: {2}.*\n?)?", re.M
)


def tell_once(notebook: Mapping[str, Any]) -> None:
    """Take places, repetitions and what libraries warn of from all that a notebook wrote to stderr.

    Parameters
    ----------
    notebook
        An executed notebook, as JSON has it, which is changed.

    Notes
    -----
    As on the command line, warnings of the model and of a user's own files stay.
    """
    told: set[str] = set()

    def said(found: re.Match[str]) -> str:
        own = found["kind"] == ScenarioWarning.__name__ or not is_installed(found["file"])
        if not own or found["text"] in told:
            return ""
        told.add(found["text"])
        return f"Warning: {found['text']}\n"

    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                output["text"] = _WARNING.sub(said, "".join(output["text"]))
        if "outputs" in cell:
            cell["outputs"] = [one for one in cell["outputs"] if one.get("text") != ""]
