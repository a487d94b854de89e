"""Where a number comes from: the provenance kind and the source of every value."""

from __future__ import annotations

from typing import Literal

from card.base.schema import Flag, Name, Record

Kind = Literal["published", "datasheet", "config", "derived", "assumed", "measured", "calibrated"]


class Source(Record):
    """Where a number comes from."""

    kind: Kind
    """Provenance kind."""
    source: Name
    """Citation, formula or reason."""
    url: str | None = None
    """Address of the public source."""
    confirmed: Flag | None = None
    """Whether the public source was read and says so."""
    note: str | None = None
    """What differs or is missing."""
