"""What tables of leakage and of loss penalties share: where they lie and how they were measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field

from card.base.data_files import DATA
from card.base.errors import ScenarioError, shortened, unknown, validated
from card.base.provenance import Source
from card.base.schema import Day, Name, Record
from card.base.text_files import read_json_object
from card.hardware.profile import Machine

_LONGEST = 200


def check_llm(name: str) -> str:
    """The name of an LLM that a table can have; a `ScenarioError` where it would fill a screen."""
    if len(name) > _LONGEST or not name.isprintable():
        raise ScenarioError(
            f"llm = {shortened(name)} is not allowed; give a name of at most {_LONGEST} letters "
            "that can be printed on one line."
        )
    return name


def is_table_file(name: str) -> bool:
    """Whether a name is that of a file with a table."""
    return name.casefold().endswith(".json")


class MeasuredTable(Record):
    """What was measured for one LLM, and how; each kind of table adds its rows."""

    format: str
    """Version of the file."""
    llm: Annotated[Name, AfterValidator(check_llm)]
    """The LLM, as `llm` of a scenario names it, or by its title if it is not a shipped one."""
    origin: Source
    """Whether it was measured or assumed, and how."""
    date: Day | None = None
    """Day of the measurement."""
    machine: Machine | None = None
    """What was measured on."""
    software: dict[str, str] = Field(default_factory=dict)
    """Versions that matter."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Weights, texts, seeds and sizes of the measurement."""

    _files: ClassVar[str]
    """What the names of shipped tables begin with."""
    _command: ClassVar[str]
    """What measures one."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the shipped tables."""
        return tuple(sorted(path.stem for path in (DATA / "runs").glob(f"{cls._files}*.json")))

    @classmethod
    def read(cls, key: str, name: str) -> Self:
        """The table that a scenario's key names: a shipped one, or a file.

        Raises
        ------
        ScenarioError
            If there is none, or it is damaged.
        """
        shipped = cls.names()
        path = DATA / "runs" / f"{name}.json" if name in shipped else Path(name)
        if name not in shipped and not is_table_file(name):
            raise unknown(key, name, shipped, ".json")
        if not path.is_file():
            raise ScenarioError(
                f"{key} = {shortened(name)} does not exist; give a file that {cls._command} wrote, "
                f"or one of {', '.join(shipped)}."
            )
        raw = read_json_object(path, f"measure it again with {cls._command}", shown=True)
        return validated(cls, raw, str(path))
