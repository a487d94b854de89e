"""Words of the glossary lead to it, once a page and where a sentence has them."""

import re
from pathlib import Path

import pytest
from rendered import rendered

from card.book.glossary import definitions

GLOSSARY = """# Glossary

```{glossary}
smashed data
  What the *last block* puts out, says {cite:t}`somebody`.

cut
cut layer
  Number of blocks, $c$.
```
"""
CHAPTER = """# The cut

A `cut` is code, a [cut](https://example.org) a link; the Cut layer is not clear-cut. Two cuts,
one more cut. **Smashed data** and smashed data.

| cut |
|---|
| smashed data |
"""


@pytest.fixture(scope="module")
def chapter(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("book")
    index = "# T\n\n```{toctree}\nglossary\nchapter\n```\n"
    for name, text in (("glossary", GLOSSARY), ("chapter", CHAPTER), ("index", index)):
        (place / f"{name}.md").write_text(text.replace(", says {cite:t}`somebody`", ""))
    out = rendered(place, extensions=["myst_nb", "card.book.glossary"])
    return (out / "chapter.html").read_text()


def test_the_first_use_of_a_word_on_a_page_leads_to_its_entry(chapter: str) -> None:
    links = re.findall(r'<a class="word[^>]*href="([^"]+)" title="([^"]+)">([^<]+)</a>', chapter)
    assert links == [
        ("glossary.html#term-cut", "Number of blocks, c.", "Cut layer"),
        ("glossary.html#term-smashed-data", "What the last block puts out.", "Smashed data"),
    ]


def test_definitions_are_plain_text_under_each_of_their_words() -> None:
    found = definitions(GLOSSARY)
    assert found["cut layer"] == ("cut", "Number of blocks, c.")
    assert found["smashed data"][1] == "What the last block puts out, says somebody."


def test_the_glossary_of_the_book_is_in_order_and_each_word_is_defined() -> None:
    found = definitions(Path(__file__).parents[3].joinpath("book/glossary.md").read_text("utf-8"))
    first = list(dict.fromkeys(entry for entry, _ in found.values()))
    assert first == sorted(first, key=str.lower)
    assert all(text.endswith(".") for _, text in found.values())
