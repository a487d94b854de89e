"""Study files: what one starts from and what it sweeps; and a commented one to begin with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from card.base.data_files import llm_names, scenario_file, scenario_names, study_names
from card.base.errors import ScenarioError, laid_to
from card.base.llm_configs import is_llm_file
from card.base.schema import Sweep, check_sweep
from card.base.yaml_files import label
from card.costs import load_scenario
from card.hardware import catalogue
from card.hardware.catalogue import Own, is_file
from card.scenario import Scenario, read_study
from card.scenario.tables import is_table_file
from card.scenario.traces import is_trace_file
from card.studies.scenario_values import leaves
from card.studies.sweep_grid import Grid

_MAPPINGS = {
    "devices": "  # by name, '*' for all; null removes one; a list replaces all of them",
    "channel_states": "  # another name adds one, null removes one",
}


_IS_FILE = {
    "hardware": is_file,
    "llm": is_llm_file,
    "leakage": is_table_file,
    "loss_penalty": is_table_file,
}


@dataclass(frozen=True)
class Study:
    """A scenario together with what it was made from."""

    path: Path
    """The file, in full."""
    scenario: Scenario
    """The study's scenario, whole."""
    base_file: Path
    """File of what it differs from; that of `nominal` where it names no base."""
    sweep: Sweep | None
    """What it sweeps, if anything."""

    @property
    def base_name(self) -> str:
        """Name of what it differs from."""
        return self.base_file.stem

    @cached_property
    def base(self) -> Scenario:
        """What it differs from, whole.

        Raises
        ------
        ScenarioError
            If that is no scenario by itself, which the study may mend.
        """
        with laid_to(str(self.base_file)):
            return load_scenario(self.base_file)

    @property
    def name(self) -> str:
        """Name of the file, without its ending."""
        return self.path.stem

    @property
    def shipped(self) -> bool:
        """Whether a scenario or study of this name comes with the package."""
        return self.name in (*scenario_names(), *study_names())


def load_study(name_or_path: str | Path, **overrides: Any) -> Study:
    """Load a study with its sweep, and refuse whatever is wrong in either.

    Parameters
    ----------
    name_or_path
        Name of a shipped scenario or study, or path of a scenario or study file, with or
        without its ending.
    **overrides
        Values to replace, as `card.load_scenario` takes them.

    Raises
    ------
    ScenarioError
        If the file or its sweep is malformed, a key unknown, or a value out of range.
    """
    path = scenario_file(name_or_path)
    scenario, raw = load_scenario(path, **overrides), read_study(path)
    base = scenario_file(raw.get("base", "nominal"), path.parent if "base" in raw else None)
    return Study(path, scenario, base, _sweep(scenario, raw))


def _sweep(scenario: Scenario, raw: dict[str, Any]) -> Sweep | None:
    plan = check_sweep(raw.get("sweep"))
    if plan is None:
        return None
    try:
        Grid.checked(scenario, plan.over, plan.policies, plan.rounds, plan.seed)
    except ScenarioError as error:
        raise ScenarioError(f"sweep.{error}") from None
    return plan


def new_study(name: str, base: str = "nominal", folder: Path | None = None) -> str:
    """Text of a study that changes nothing yet: every key of its base, commented out.

    Parameters
    ----------
    name
        Name of the study.
    base
        Name of a shipped scenario or study, or path of a file.
    folder
        Where the study will lie, from which it names a file; the current one when None.

    Raises
    ------
    ScenarioError
        If the base is refused.
    """
    scenario = load_scenario(base)
    shipped = base in (*scenario_names(), *study_names())
    named = base if shipped else os.path.relpath(base, folder)
    lines = [
        "# A study: whatever it does not name is taken from its base. Remove a `#` and change the",
        "# value behind it; `card schema` prints a schema from which editors complete.",
        *_catalogue("LLMs", llm_names()),
        *_catalogue("Hardware", catalogue()),
        "",
        f"base: {label(named)}",
        f"title: {label(f'{name}, a study of what changes when …')}",
        "",
        *(f"#{line}" if line else line for line in _keys(scenario, folder)),
        "",
        "# Where your values come from. Kinds: datasheet, config, derived, assumed, measured.",
        "#sources:",
        '#  link.bandwidth_hz: {kind: assumed, source: "The reason for this value."}',
        "",
        f"# Values to compare: `card sweep {name}.yml` computes every combination.",
        "#sweep:",
        "#  over:",
        "#    objective.delay_weight: [0.2, 0.5, 0.8]",
        "#  policies: [card, device_only, server_only]",
        "",
        "# Policies to compare beside the usual ones, e.g. [cut_only, my_policy.py:mine], where",
        "# mine is a function of a file beside this one.",
        f"#policies: {label(list(scenario.policies))}",
    ]
    return "\n".join(lines)


def _catalogue(what: str, names: Iterable[str]) -> list[str]:
    listed = f"# {what}: {', '.join(names)}."
    return wrap(listed, 99, subsequent_indent="# ", break_on_hyphens=False)


def _keys(scenario: Scenario, folder: Path | None) -> Iterator[str]:
    """Lines of YAML for every value of a scenario; the first of a kind is explained.

    A file is named from the folder.
    """
    above: list[str] = []
    told: set[str] = set()
    for (*parts, key), shared, value, field in leaves(scenario):
        if above[:1] and parts[:1] != above[:1]:
            yield ""
        for depth, part in enumerate(parts):
            if above[: depth + 1] != parts[: depth + 1]:
                yield f"{'  ' * depth}{part}:{'' if depth else _MAPPINGS.get(part, '')}"
        plain: Any = list(value) if isinstance(value, tuple) else value
        if isinstance(plain, Own):
            plain = plain.model_dump(mode="json", exclude_defaults=True)
        elif isinstance(plain, str) and _IS_FILE.get(key, lambda _: False)(plain):
            plain = os.path.relpath(plain, folder or ".")
        elif key == "trace":
            plain = [os.path.relpath(n, folder or ".") if is_trace_file(n) else n for n in plain]
        note = "" if shared in told else f"  # {_meaning(field)}"
        yield f"{'  ' * len(parts)}{key}: {label(plain)}{note}"
        told.add(shared)
        above = parts
    yield ""


def _meaning(field: FieldInfo) -> str:
    """What a value means, and the choices it has."""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    listed = f" One of {', '.join(map(str, choices))}." if choices else ""
    return " ".join(str(field.description).replace("`", "").split()) + listed
