"""Whether catalogue entries, LLMs, profiles, scenarios and studies are sound, each by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from card.base.data_files import llm_names, scenario_names, study_names
from card.base.errors import ScenarioError
from card.hardware import catalogue, hardware
from card.hardware.catalogue import profile_names
from card.llm import architecture
from card.studies.study_file import load_study

Work = tuple[str, Callable[[], object]]
"""A name, and what refuses if it is not sound."""


def check(studies: Sequence[str] | None = None) -> tuple[int, list[str]]:
    """Check studies, or all that is shipped.

    Parameters
    ----------
    studies
        Names or files of scenarios and studies; all shipped entries, scenarios and studies if none.

    Returns
    -------
    tuple[int, list[str]]
        How many things were checked, and a line for each fault.
    """
    work = [(name, partial(load_study, name)) for name in studies] if studies else list(_shipped())
    found: list[str] = []
    for name, attempt in work:
        try:
            attempt()
        except ScenarioError as error:
            lines = str(error).splitlines()
            found += [line if name in line else f"{name}: {line}" for line in lines]
    return len(work), list(dict.fromkeys(found))


def _shipped() -> Iterator[Work]:
    try:
        names = [*catalogue(), *profile_names()]
    except ScenarioError:
        names = ["hardware"]  # which the attempt then refuses with what is wrong with the file
    for name in names:
        yield name, partial(hardware, "hardware", name)
    for name in llm_names():
        yield name, partial(architecture, name)
    for name in (*scenario_names(), *study_names()):
        yield name, partial(load_study, name)
