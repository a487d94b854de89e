"""Whether the files of the package, or studies, are sound, each by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from card.base.data_files import DATA, llm_names, scenario_file, scenario_names, study_names
from card.base.errors import ScenarioError
from card.base.letters import printable
from card.base.text_files import read_json_object, read_text
from card.book.notation import notation
from card.hardware import catalogue, hardware
from card.hardware.catalogue import load_profile, measured, profile_names
from card.llm import architecture
from card.scenario.leakage import LeakageTable
from card.scenario.penalties import PenaltyTable
from card.scenario.traces import read_trace, trace_names
from card.studies.claims import recorded_claims
from card.studies.study_file import load_study


class _Work(NamedTuple):
    """A thing to check."""

    name: str
    """What to call it."""
    path: Path
    """Where it lies, as errors that name it by themselves begin."""
    attempt: Callable[[], object]
    """What refuses if it is not sound."""


def check(studies: Sequence[str] | None = None) -> tuple[int, list[str]]:
    """Check studies, or all that is shipped.

    Parameters
    ----------
    studies
        Names or files of scenarios and studies; every file that the package reads if none.

    Returns
    -------
    tuple[int, list[str]]
        How many things were checked, and a line for each fault, which names the thing.
    """
    work = list(map(_study, studies)) if studies else list(_shipped())
    found: list[str] = []
    for name, path, attempt in work:
        try:
            attempt()
        except ScenarioError as error:
            lines = str(error).splitlines()
            found += [line if line.startswith(str(path)) else f"{name}: {line}" for line in lines]
    return len(work), list(dict.fromkeys(found))


def _study(name: str) -> _Work:
    called = printable(name)
    shipped = name in (*scenario_names(), *study_names())
    path = scenario_file(name) if shipped else Path(name).absolute()
    return _Work(str(path) if shipped else called, path, lambda: load_study(name).base)


def _shipped() -> Iterator[_Work]:
    def work(file: str, attempt: Callable[[], object]) -> _Work:
        return _Work(str(DATA / file), DATA / file, attempt)

    yield work("hardware.yml", catalogue)
    for name in _entries():
        yield work("hardware.yml", partial(hardware, "hardware", name))
    for name in profile_names():
        yield work(f"profiles/{name}.json", partial(_measured, name))
    for name in trace_names():
        yield work(f"traces/{name}.csv", partial(read_trace, "link.trace", name))
    for name in LeakageTable.names():
        yield work(f"runs/{name}.json", partial(LeakageTable.read, "privacy.leakage", name))
    for name in PenaltyTable.names():
        yield work(f"runs/{name}.json", partial(PenaltyTable.read, "wire.loss_penalty", name))
    for name in llm_names():
        yield work(f"llms/{name}.json", partial(architecture, name))
    for name in (*scenario_names(), *study_names()):
        yield _study(name)
    yield work("claims.yml", recorded_claims)
    yield work("notation.yml", notation)
    for path in sorted(DATA.rglob("*")):
        # what other readers than these take as it is
        file = path.relative_to(DATA)
        if path.suffix == ".json" and file.parts[0] not in ("llms", "profiles"):
            yield work(str(file), partial(read_json_object, path, "restore the file"))
        elif path.suffix == ".txt":
            yield work(str(file), partial(read_text, path))
        elif path.suffix == ".safetensors":
            yield work(str(file), partial(_weights, path))


def _entries() -> list[str]:
    """Names in the hardware catalogue; none of one that is refused as a whole."""
    try:
        return list(catalogue())
    except ScenarioError:
        return []


def _measured(name: str) -> None:
    """Use a shipped profile, also where a catalogue entry has its name and hides it."""
    measured(load_profile("hardware", name))


def _weights(path: Path) -> None:
    """Open the weights of an LLM; what reads them also brings what opens them."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        return
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (OSError, SafetensorError) as error:
        raise ScenarioError(f"{path} holds no whole weights ({error}); restore it.") from None
