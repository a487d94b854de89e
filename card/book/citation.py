"""BibTeX of the artifact and of the letter, from the record that reference managers read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_FIELDS = {
    "journal": "journal",
    "volume": "volume",
    "year": "year",
    "issue": "number",
    "doi": "doi",
    "version": "version",
}
"""What BibTeX calls the fields of a citation file."""


def bibtex(record: Mapping[str, Any]) -> str:
    """BibTeX of a citation file: what it is of, and the references that it names.

    Parameters
    ----------
    record
        Content of a `CITATION.cff`.
    """
    entries = [_entry("software", "card_artifact", record)]
    entries += [_entry(work["type"], _key(work), work) for work in record["references"]]
    return "\n\n".join(entries)


def _key(work: Mapping[str, Any]) -> str:
    """First author, year and first word of the title."""
    word = re.findall(r"\w+", work["title"])[0]
    return f"{work['authors'][0]['family-names']}{work['year']}{word}".lower()


def _entry(kind: str, key: str, work: Mapping[str, Any]) -> str:
    fields = "".join(f",\n  {name} = {{{value}}}" for name, value in _said(work))
    return f"@{kind}{{{key}{fields}\n}}"


def _said(work: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "author", " and ".join(map(_author, work["authors"]))
    yield "title", " ".join(work["title"].split())
    yield from ((name, work[field]) for field, name in _FIELDS.items() if field in work)
    if "start" in work:
        yield "pages", f"{work['start']}--{work['end']}"


def _author(author: Mapping[str, str]) -> str:
    """A person, or in braces a name that has no parts."""
    if "name" in author:
        return f"{{{author['name']}}}"
    return f"{author['family-names']}, {author['given-names']}"
