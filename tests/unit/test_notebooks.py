"""Chapters keep the form that the book needs, and no sentence of the book holds a typed result."""

import ast
import json
import re
from pathlib import Path

import pytest
from chapter_texts import is_prose, texts
from pybtex.database import parse_file

from card.studies.speed import recorded

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted((ROOT / "book").glob("*.md"))
ENTRIES = parse_file(str(ROOT / "book/references.bib")).entries
LONGEST_CELL = 15
"""Lines of code that a reader takes in at a glance; what needs more belongs in the package."""

MOST_PLACES = 3
"""Modules of the package that a chapter imports from."""
HIDING = {"hide-input", "hide-cell", "remove-input", "remove-cell"}

NAMES = re.compile(r"[A-Za-z][\w.-]*")
"""A word with a digit in it, such as C1, float32, GPT-2 or Llama-3.2-1B, is a name."""
BLOCK = re.compile(r"^(`{3,}|:{3,})(?![`:])(?!\{(?:admonition|figure|grid))\S.*?^\1$", re.M | re.S)
"""Code, equations and pages written by the build; directives that hold prose are read."""
NOT_PROSE = (
    BLOCK,
    re.compile(r"^[`:]{3,}.*$|^:(?!alt)[\w-]+:.*$|^\([\w-]+\)=$|^\s*\d+\. ", re.M),
    re.compile(r"\$\$.*?\$\$|\$[^$]+\$", re.S),
    re.compile(r"\{[\w:]+\}`[^`]*`|(`+).+?\1", re.S),
    re.compile(r"\[Chapter \d+\]\([^)]*\)|\[[^\]]*\]\([^)]*\.bib#\w+\)"),
    re.compile(r"\]\([^)]*\)|<https?:[^>]*>|\{\{.*?\}\}"),
)
"""In this order: blocks; heads, options and labels; mathematics; roles and code; links that name
a chapter or a year; other links."""
DRESSED_UP = re.compile(r"\$[^$\n]*\d[^$\n]*%[^$\n]*\$|\$\d[\d.,]*\d\$")
"""Results that pose as mathematics: percentages, and numbers that stand alone."""
ALLOWED = {
    r"7\(3\):176[-–]180, 2025": "the letter's place in its journal",
    r"CC BY 4\.0|Apache License 2\.0": "versions of licences",
    r"Llama 3|Gemma 2": "names of families of models",
    r"\*?Step \d:": "numbered steps of a proof",
    r"(?:from|between) 0 (?:to|and) 1\b": "ends of a normalised range, a definition",
    r"\b(?:[Cc]uts?|blocks?) [01]\b": "ends of the range of cuts, a definition",
    r"\bmean 1\b": "a normalisation, a definition",
    r"\b95 (?:%|per ?cent)(?= (?:\w+ )?intervals?)": "the level of an interval, a definition",
}
"""Numbers that no run can change, and why."""


def test_every_chapter_has_its_time_on_record():
    assert list(recorded("effort")["chapters_s"]) == [path.stem for path in NOTEBOOKS]


def code_cells(path):
    """Source and metadata of each code cell that computes; those of sentences are text."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = [("".join(c["source"]), c["metadata"]) for c in cells if c["cell_type"] == "code"]
    return [(text, metadata) for text, metadata in code if not is_prose(metadata)]


def places(path):
    """Modules of the package that a chapter imports from, beside what it tries for an extra."""
    statements = [line for text, _ in code_cells(path) for line in ast.parse(text).body]
    names = {line.module for line in statements if isinstance(line, ast.ImportFrom)}
    names |= {a.name for line in statements if isinstance(line, ast.Import) for a in line.names}
    return {name for name in names if name.partition(".")[0] == "card"}


def figure_metadata(metadata):
    """Name, caption and text alternative of a cell's figure, as far as they are there."""
    shown = metadata.get("mystnb", {})
    figure = shown.get("figure", {})
    return figure.get("name"), figure.get("caption"), shown.get("image", {}).get("alt")


def typed_numbers(text):
    """Digits that a reader would see and no run would renew, each with the words beside it."""
    dressed_up = DRESSED_UP.findall(text)
    for pattern in NOT_PROSE:
        text = pattern.sub(" ", text)
    for pattern in ALLOWED:
        text = re.sub(pattern, " ", text)
    words = text.split()
    hits = [
        place
        for place, word in enumerate(words)
        if re.search(r"\d", word) and not NAMES.fullmatch(word.strip("*_.,;:!?()[]\"'“”|"))
    ]
    return dressed_up + [" ".join(words[max(place - 3, 0) : place + 3]) for place in hits]


def quoted_names(call):
    """Names that a call of `quote` gives to the text, as patterns: what varies matches anything."""
    keys = []
    for node in ast.walk(call):
        keys += node.keys if isinstance(node, ast.Dict) else []
        keys += [node.key] if isinstance(node, ast.DictComp) else []
    parts = [key.values if isinstance(key, ast.JoinedStr) else [key] for key in keys if key]
    # a name that is all variable would match whatever the text has, and hide where it comes from
    assert all(any(isinstance(p, ast.Constant) for p in key) for key in parts), ast.unparse(call)
    patterns = [
        "".join(re.escape(p.value) if isinstance(p, ast.Constant) else ".+" for p in key)
        for key in parts
    ]
    return [re.compile(pattern) for pattern in patterns]


class TestScan:
    @pytest.mark.parametrize(
        "text",
        [
            "CARD reduces delay by 58 % here.",
            "takes 3.4 s",
            "an error of −2 %",
            "an error of -2 %",
            "w=0.5",
            "after 1 000 rounds",
            r"reduces delay by $58\,\%$",
            "takes $3.4$ s",
            "| policy | 12.5 |",
            "```{admonition} Note\n:class: tip\n\nIt takes 3 s.\n```",
            "```{figure} a.svg\n:name: fig-a\n:alt: A drop of 58 %.\n```",
            "![A drop of 58 %](results/headline.svg)",
        ],
    )
    def test_finds_a_typed_result(self, text):
        assert typed_numbers(text)

    @pytest.mark.parametrize(
        "text",
        [
            "takes {{delay_2}} s",
            "with $w = 0.5$ and\n$$\nf = 2x \\tag{one}\n$$",
            "```{math}\n:label: eq-one\nf = 2x\n```",
            "```bash\ncard solve nominal --set link.bandwidth_hz=2e6\n```",
            "Llama-3.2-1B in float32 on GPT-2, claims C1 and C2.",
            "1. the first step\n2. the second",
            "(fig-2)=\n{numref}`fig-2` and [a link](results/2.json) and `link.fading: 2`",
        ],
    )
    def test_lets_pass_what_is_not_a_result(self, text):
        assert typed_numbers(text) == []


@pytest.mark.parametrize("path", [*NOTEBOOKS, *PAGES], ids=lambda path: path.stem)
class TestProse:
    def test_holds_no_typed_number(self, path):
        if path.suffix == ".md":
            read = [path.read_text("utf-8")]
        else:
            shown = [figure_metadata(metadata)[1:] for _, metadata in code_cells(path)]
            read = [*texts(path), *(text for pair in shown for text in pair if text)]
        assert [hit for text in read for hit in typed_numbers(text)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebooks:
    def test_has_no_outputs(self, path):
        code = [c for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
        assert not any(cell["outputs"] or cell["execution_count"] for cell in code)

    def test_has_one_parameters_cell_of_annotated_literals(self, path):
        (source,) = [
            text for text, data in code_cells(path) if "parameters" in data.get("tags", [])
        ]
        statements = ast.parse(source).body
        assert all(isinstance(line, ast.AnnAssign) for line in statements)
        declared = {line.target.id: ast.literal_eval(line.value) for line in statements}
        assert list(declared) == ["scenario", "seed", "quick"]

    def test_code_cells_are_short(self, path):
        lengths = {text.splitlines()[0]: len(text.splitlines()) for text, _ in code_cells(path)}
        assert {first: n for first, n in lengths.items() if n > LONGEST_CELL} == {}

    def test_the_lesson_is_in_the_open_and_all_else_is_folded(self, path):
        folded = [bool(HIDING & set(data.get("tags", []))) for _, data in code_cells(path)]
        fewest, most = (1, 2) if path.stem == "explorer" else (3, 5)
        assert fewest <= folded.count(False) <= most

    def test_imports_come_from_few_places(self, path):
        assert len(places(path)) <= MOST_PLACES, places(path)

    def test_numbers_are_quoted_at_the_end(self, path):
        code = code_cells(path)
        first = next(place for place, (text, _) in enumerate(code) if "quote(" in text)
        assert all("remove-cell" in data.get("tags", []) for _, data in code[first:])

    def test_figures_have_name_caption_and_text_alternative(self, path):
        modules = {
            alias.asname or alias.name
            for text, _ in code_cells(path)
            for line in ast.parse(text).body
            if isinstance(line, ast.ImportFrom) and line.module == "card.figures"
            for alias in line.names
            if alias.name != "style"
        }
        for text, metadata in code_cells(path):
            last = ast.parse(text).body[-1]
            value = last.value if isinstance(last, ast.Expr) else None
            call = value.func if isinstance(value, ast.Call) else None
            drawn = isinstance(call, ast.Attribute) and ast.unparse(call.value) in modules
            if drawn or "figure" in metadata.get("mystnb", {}):
                assert all(figure_metadata(metadata)), text

    def test_figures_are_referred_to_by_the_text(self, path):
        text = "\n".join(texts(path))
        names = [name for _, data in code_cells(path) if (name := figure_metadata(data)[0])]
        assert len(set(names)) == len(names)
        assert [name for name in names if f"](#{name})" not in text] == []

    def test_jupyter_shows_all_of_it(self, path):
        """Marks that only the book's renderer knows would stand there as they are."""
        for text in texts(path):
            assert not re.search(r"\{[\w:-]+\}`|^(`{3,}|:{3,})\{|^\([\w-]+\)=$", text, re.M)

    def test_only_sentences_with_numbers_are_made_by_code(self, path):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            if is_prose(cell["metadata"]):
                assert cell["metadata"]["jupyter"] == {"source_hidden": True}
                assert cell["metadata"]["transient"] == {"remove_source": True}, "for nbconvert"
                assert re.search(r"\{\{[\w-]+\}\}", "".join(cell["source"]))

    def test_links_say_where_they_lead(self, path):
        text = re.sub(r"\s+", " ", "\n".join(texts(path)))
        for words, target in re.findall(r"\[([^\]]+)\]\(([^)#]*#?[\w-]*)\)", text):
            file, _, place = target.partition("#")
            if file and not file.startswith(("http", "../results/")):
                assert (path.parent / file).is_file(), target
            if words.startswith("Chapter "):
                assert words == f"Chapter {int(file[:2])}"
            if place.startswith("eq-"):
                home = "\n".join(texts(path.parent / file)) if file else text
                assert words == f"({place[3:]})"
                assert f"\\tag{{{place[3:]}}}" in home
            if file.endswith(".bib"):
                entry = ENTRIES[place]
                names = [person.last_names[-1] for person in entry.persons["author"]]
                assert names[0] in words
                assert entry.fields["year"] in words
                assert ("et al." in words) == (len(names) > 2)

    def test_text_and_code_agree_on_what_is_quoted(self, path):
        text = "\n".join(texts(path))
        names = set(re.findall(r"\{\{([\w-]+)\}\}", text))
        calls = [
            node
            for code, _ in code_cells(path)
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "quote"
        ]
        quoted = [pattern for call in calls for pattern in quoted_names(call)]
        assert [n for n in names if not any(q.fullmatch(n) for q in quoted)] == []
        assert [q.pattern for q in quoted if not any(q.fullmatch(n) for n in names)] == []
