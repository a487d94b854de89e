"""`card.book.citation`: the record for reference managers as BibTeX."""

from pathlib import Path

from pybtex.database import parse_string

from card.base.yaml_files import read_yaml
from card.book.citation import bibtex

ROOT = Path(__file__).parents[3]


def test_a_record_becomes_an_entry_and_one_for_each_reference():
    letter = {
        "type": "article",
        "title": "Two-Part  Names",
        "authors": [{"family-names": "Ha", "given-names": "Bo"}],
        "year": 1990,
        "issue": 3,
        "start": 1,
        "end": 8,
    }
    record = {"title": "A book", "authors": [{"name": "All of us"}], "version": "0.1"}
    assert bibtex({**record, "references": [letter]}).split("\n\n") == [
        "@software{card_artifact,\n  author = {{All of us}},\n  title = {A book},\n"
        "  version = {0.1}\n}",
        "@article{ha1990two,\n  author = {Ha, Bo},\n  title = {Two-Part Names},\n"
        "  year = {1990},\n  number = {3},\n  pages = {1--8}\n}",
    ]


def test_the_letter_is_the_one_of_the_bibliography():
    ours = parse_string(bibtex(read_yaml(ROOT / "CITATION.cff")), "bibtex").entries["li2025energy"]
    listed = parse_string((ROOT / "book/references.bib").read_text("utf-8"), "bibtex").entries
    named = dict(listed["li2025energy"].fields)
    assert dict(ours.fields) == {name: named[name] for name in ours.fields}
    assert ours.persons == listed["li2025energy"].persons
