"""Results taken home: tables in every format, figures for a column, and how to cite them."""

import importlib.util
import io
import json
import re
import resource
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from commands import refusal, run

import card

openpyxl = pytest.importorskip("openpyxl")
pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pypdf = pytest.importorskip("pypdf")
pytest.importorskip("matplotlib")
pytest.importorskip("netCDF4")

from matplotlib.colors import to_rgb
from pybtex.database import parse_string

from card.base.errors import ScenarioError
from card.base.yaml_files import read_yaml
from card.book.citation import bibtex
from card.figures.palette import COLOURS
from card.figures.papers import FIGURES, inches, picture
from card.studies import export
from card.studies.export import as_frame, read_results, with_digest, write_table

ROOT = Path(card.__file__).parents[1]
NOMINAL = card.load_scenario("nominal")
OPTIONS = ["--rounds", "4", "--policies", "card,server_only"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    run("simulate", "nominal", *OPTIONS, "--output", folder / "simulation.nc")
    weights = ["--over", "objective.delay_weight=[0.2, 0.8]"]
    run("sweep", "nominal", *OPTIONS, *weights, "--output", folder / "sweep.nc")
    run("sweep", "nominal", *OPTIONS, *weights, "--output", folder / "sweep.zarr")
    scores = ["--rounds", "4", "--scenarios", "nominal,realistic"]
    run("benchmark", *scores, "--output", folder / "scores.nc")
    return folder


def exported(folder, result, suffix):
    file = folder / f"{result}{suffix}"
    assert run("export", folder / result, "--to", file).stdout.strip() == str(file)
    return file


READ = {".csv": pd.read_csv, ".xlsx": pd.read_excel, ".parquet": pd.read_parquet}


@pytest.mark.parametrize("suffix", READ)
@pytest.mark.parametrize("result", ["sweep.nc", "sweep.zarr"])
def test_a_table_has_the_means_of_the_result(folder, result, suffix):
    found = READ[suffix](exported(folder, result, suffix))
    weights = [0.2, 0.8]
    swept = card.sweep(
        NOMINAL, {"objective.delay_weight": weights}, ["card", "server_only"], rounds=4
    )
    for row in found.to_dict("records"):
        point = swept.sel(
            {"objective.delay_weight": row["objective.delay_weight"], "policy": row["policy"]}
        )
        assert row["delay_s"] == pytest.approx(float(point.delay_s.mean()), rel=1e-12)
        assert row["energy_j_low"] == pytest.approx(float(point.energy_j_low), rel=1e-12)
    assert len(found) == 4


@pytest.mark.parametrize("result", ["simulation.nc", "sweep.nc", "scores.nc"])
def test_a_file_says_of_what_it_is(folder, result):
    version, digest = f"card {card.__version__}", NOMINAL.digest
    sheet = pd.read_excel(exported(folder, result, ".xlsx"), "about", header=None, index_col=0)
    frame = pd.read_parquet(exported(folder, result, ".parquet"))
    table = exported(folder, result, ".tex").read_text("utf-8").splitlines()[0]
    rows = pd.read_csv(exported(folder, result, ".csv"))
    for told in (sheet[1], frame.attrs, rows.iloc[0]):
        assert told["source"] == version
        assert digest in told["scenario_hash"]
        assert int(told["rounds"]) == 4
    assert table.startswith("% ")
    assert version in table
    assert digest in table


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("a\x1b[31m\x00\x0b b", r"a\x1b[31m\x00\x0b b"),
        ("\ufffe, \ud800", r"\ufffe, \ud800"),
        ("=1+1", "=1+1"),
        ("äβ\U0001f600", "äβ\U0001f600"),
    ],
)
def test_a_sheet_takes_any_title_and_takes_it_for_words(title, kept):
    results = card.simulate(NOMINAL, ["card"], rounds=2).assign_attrs(title=title)
    file = io.BytesIO(write_table(as_frame(results), ".xlsx"))
    (cell,) = (row[1] for row in openpyxl.load_workbook(file)["about"] if row[0].value == "title")
    assert (cell.value, cell.data_type) == (kept, "s")


@pytest.mark.parametrize("sign", "=+-@")
def test_names_that_a_spreadsheet_takes_for_formulas_are_words_but_in_csv_as_they_are(sign):
    name = f"{sign}1+1"
    results = card.simulate(NOMINAL, ["card"], rounds=2)
    frame = as_frame(results.assign_coords(policy=[name]))
    assert pd.read_csv(io.BytesIO(write_table(frame, ".csv"))).policy.tolist() == [name]
    (_, row) = openpyxl.load_workbook(io.BytesIO(write_table(frame, ".xlsx")))["results"]
    assert (row[0].value, row[0].data_type) == (name, "s")
    page = (ROOT / "book/your-own.md").read_text("utf-8")
    assert f"`{sign}`" in page[page.index("A CSV file has names") :]


TEMPORARY = {
    "missing": "or make its folder.",
    "file": "or remove the file that stands where its folder should.",
    "full": "or make room for it.",
}


@pytest.mark.parametrize("state", TEMPORARY)
def test_a_sheet_that_has_no_room_on_its_way_says_where(folder, tmp_path, monkeypatch, state):
    place = tmp_path / state
    if state == "file":
        place.touch()
    if state == "full":
        place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if state == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ScenarioError) as told:
            write_table(as_frame(read_results(folder / "simulation.nc")), ".xlsx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = str(told.value)
    assert f"in the folder of temporary files {place} (" in said
    assert said.endswith(f"set TMPDIR to another one, {TEMPORARY[state]}")


def test_a_sheet_takes_no_more_on_its_way_than_was_tried(folder, monkeypatch):
    """Written as text, which no archive has packed yet."""
    tried, check = [], export._check_temporary
    monkeypatch.setattr(export, "_check_temporary", lambda size: (tried.append(size), check(size)))
    for result in ("simulation.nc", "sweep.nc", "scores.nc"):
        frame = as_frame(read_results(folder / result)).rename(index=lambda _: "&<>" * 99)
        with zipfile.ZipFile(io.BytesIO(write_table(frame, ".xlsx"))) as book:
            sizes = [one.file_size for one in book.infolist() if "worksheets/" in one.filename]
        assert len(sizes) == 2
        assert sum(sizes) <= tried.pop()


@pytest.mark.parametrize("result", ["simulation.nc", "scores.nc"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_result_that_lost_its_end_is_refused(folder, tmp_path, result, share):
    # of which the classic format of netCDF says nothing: it reads zeros
    whole, half = (folder / result).read_bytes(), tmp_path / "half.nc"
    half.write_bytes(whole[: int(share * len(whole))])
    said = refusal("export", half, "--to", tmp_path / "half.csv")
    assert "half.nc is damaged" in said or "half.nc cannot be read" in said
    assert not (tmp_path / "half.csv").exists()


LOSSES = {
    "means": lambda store: [chunk.unlink() for chunk in (store / "delay_s").glob("[0-9]*")],
    "ends of an interval": lambda store: (store / "energy_j_low/0.0").unlink(),
    "a coordinate": lambda store: shutil.rmtree(store / "policy"),
    "a value": lambda store: shutil.copy(store / "energy_j/0.0.0.0", store / "delay_s/0.0.0.0"),
    "attributes": lambda store: [file.write_text("{}") for file in store.glob(".z[am]*")],
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_store_that_lost_a_part_is_refused(folder, tmp_path, loss):
    store = tmp_path / "sweep.zarr"
    shutil.copytree(folder / "sweep.zarr", store)
    loss(store)
    said = refusal("export", store, "--to", tmp_path / "a.csv")
    assert "sweep.zarr is damaged" in said or "sweep.zarr cannot be read" in said
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(("result", "library"), [("sweep.zarr", "zarr"), ("sweep.nc", "netCDF4")])
def test_a_sweep_whose_library_is_missing_names_it(folder, tmp_path, monkeypatch, result, library):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "card.base.errors.find_spec", lambda name: None if name == library else found(name)
    )
    said = refusal("export", folder / result, "--to", tmp_path / "a.csv")
    assert f"{result} needs {library}, which is not installed; pip install " in said
    assert run("export", folder / "scores.nc", "--to", tmp_path / "a.csv").exit_code == 0


def test_a_store_without_its_index_is_read_without_a_word_of_it(folder, tmp_path):
    store = tmp_path / "sweep.zarr"
    shutil.copytree(folder / "sweep.zarr", store)
    (store / ".zmetadata").unlink()
    weights = ["--over", "objective.delay_weight=[0.2, 0.8]"]
    for command in (
        ["export", store, "--to", tmp_path / "a.csv"],
        ["sweep", "nominal", *OPTIONS, *weights, "--output", store],
    ):
        result = run(*command)
        assert (result.exit_code, result.stderr) == (0, "")


CHANGES = {
    "a value": lambda found: found.assign(delay_s=found.delay_s * 2),
    "a coordinate": lambda found: found.drop_vars("policy"),
    "a number of the run": lambda found: found.assign_attrs(seed="17"),
    "all attributes": lambda found: found.drop_attrs(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("result", ["simulation.nc", "sweep.nc", "scores.nc"])
def test_a_result_that_was_changed_is_refused(folder, tmp_path, result, change):
    with xr.open_dataset(folder / result) as found:
        change(found.load()).to_netcdf(tmp_path / result)
    said = refusal("export", tmp_path / result, "--to", tmp_path / "a.csv")
    assert f"{result} is damaged" in said


@pytest.mark.parametrize("lost", [["fingerprint"], ["digest"], ["fingerprint", "digest"]])
def test_a_sweep_that_lost_what_it_is_checked_by_is_refused(folder, tmp_path, lost):
    with xr.open_dataset(folder / "sweep.nc") as found:
        changed = found.load().assign(delay_s=found.delay_s * 2)
        for name in lost:
            del changed.attrs[name]
        changed.to_netcdf(tmp_path / "less.nc")
    said = refusal("export", tmp_path / "less.nc", "--to", tmp_path / "a.csv")
    assert "less.nc is damaged" in said


@pytest.mark.parametrize("result", ["simulation.nc", "scores.nc"])
def test_a_result_without_its_digest_is_refused(folder, tmp_path, result):
    with xr.open_dataset(folder / result) as found:
        less = found.load()
    del less.attrs["content_hash"]
    less.to_netcdf(tmp_path / result)
    said = refusal("export", tmp_path / result, "--to", tmp_path / "a.csv")
    assert f"{result} is damaged: it has no digest that would tell a change; give " in said


@pytest.mark.parametrize("result", ["simulation.nc", "sweep.nc", "sweep.zarr", "scores.nc"])
def test_numbers_that_became_words_are_refused(folder, tmp_path, result):
    with xr.open_dataset(folder / result, engine="zarr" if "zarr" in result else None) as found:
        spelt = with_digest(found.load().assign(delay_s=found.delay_s.astype(str)))
    if result.endswith(".zarr"):
        spelt.drop_encoding().to_zarr(tmp_path / result, zarr_format=2)
    else:
        spelt.to_netcdf(tmp_path / result)
    said = refusal("export", tmp_path / result, "--to", tmp_path / "a.csv")
    assert f"{result} is damaged: it is not what was written; give " in said


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_folder_called_like_the_home_s_sign_is_itself(tmp_path, monkeypatch, suffix):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in ("home", "here/~"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    output, table = f"~/sweep{suffix}", "~/sweep.csv"
    over = ["--over", "objective.delay_weight=[0.2]"]
    for _ in range(2):
        run("sweep", "nominal", *OPTIONS, *over, "--output", output)
    assert run("export", output, "--to", table).exit_code == 0
    assert not list((tmp_path / "home").iterdir())
    assert {path.name for path in (tmp_path / "here/~").iterdir()} == {"sweep.csv", output[2:]}


def test_a_simulation_s_table_has_intervals(folder):
    found = pd.read_csv(exported(folder, "simulation.nc", ".csv"))
    assert (found.delay_s_low <= found.delay_s).all()
    assert (found.delay_s <= found.delay_s_high).all()


def test_a_table_for_latex_has_rules_and_no_raw_underscore(folder):
    text = exported(folder, "simulation.nc", ".tex").read_text("utf-8").partition("\n")[2]
    assert r"server\_only & " in text
    assert r"\toprule" in text
    assert not re.search(r"(?<!\\)_", text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.nc", "--to", "a.tex"], "none.nc does not exist; give a .nc or .zarr"),
        (["{own}", "--to", "a.tex"], "cannot be read"),
        (["{scores}", "--to", "a.txt"], "end it in .tex or .csv or .xlsx or .parquet."),
        (["{scores}", "--to", "none/a.tex"], "cannot be written: there is no folder for it"),
    ],
)
def test_what_cannot_be_exported_is_one_line(folder, tmp_path, arguments, message):
    own = tmp_path / "own.nc"
    own.write_text("no result", "utf-8")
    names = {"own": own, "scores": folder / "scores.nc"}
    assert message in refusal("export", *(item.format(**names) for item in arguments))


class TestFigures:
    @pytest.mark.parametrize("name", FIGURES)
    def test_a_pdf_is_as_wide_as_asked_with_fonts_that_can_be_embedded(self, name):
        document = pypdf.PdfReader(io.BytesIO(picture(name, NOMINAL, "pdf", 3.5, 5, 1)))
        (page,) = document.pages
        assert float(page.mediabox.width) == pytest.approx(3.5 * 72, abs=0.5)
        fonts = [font.get_object() for font in page["/Resources"]["/Font"].values()]
        assert {str(font["/Subtype"]) for font in fonts} <= {"/Type0", "/TrueType"}
        assert document.metadata.subject == f"scenario {NOMINAL.digest}, 5 rounds, seed 1"

    def test_equal_calls_give_equal_bytes(self):
        assert picture("cuts", NOMINAL, "pdf", 3, 5) == picture("cuts", NOMINAL, "pdf", 3, 5)

    @pytest.mark.parametrize("file_format", ["svg", "eps", "png"])
    def test_every_format_is_written(self, tmp_path, file_format):
        file = tmp_path / f"cuts.{file_format}"
        options = ["--format", file_format, "--rounds", "5", "--output", file]
        assert run("figure", "cuts", "nominal", *options).stdout.strip() == str(file)
        assert NOMINAL.digest.encode() in file.read_bytes()

    @pytest.mark.parametrize("name", FIGURES)
    def test_eps_needs_no_transparency(self, name, caplog):
        picture(name, NOMINAL, "eps", 3.5, 5)
        assert caplog.messages == []

    def test_a_faint_line_has_in_eps_the_colour_that_it_has_on_white(self):
        eps = picture("comparison", NOMINAL, "eps", 3.5, 5).decode("latin-1")
        paints = re.findall(r"([\d.]+) ([\d.]+) ([\d.]+) setrgbcolor", eps)
        faint = 1 - 0.45 * (1 - np.array(to_rgb(COLOURS["blue"])))
        assert np.isclose(np.array(paints, float), faint, atol=1e-3).all(axis=1).any()

    def test_widths_are_read_in_the_units_of_papers(self):
        given = [inches("3.5in"), inches("88.9mm"), inches("8.89cm"), inches("252.945 pt")]
        np.testing.assert_allclose(given, 3.5)

    @pytest.mark.parametrize("width", ["3.5", "1in", "99in", "in", "nanin", "-3in", ""])
    def test_other_widths_are_refused(self, width):
        assert "give " in refusal("figure", "cuts", "--width", width)


class TestCitation:
    def test_is_the_one_of_the_book_and_of_the_file_for_reference_managers(self):
        record = bibtex(read_yaml(ROOT / "CITATION.cff"))
        ours, records = (
            parse_string(text, "bibtex").entries for text in (run("cite").stdout, record)
        )
        assert dict(ours) == dict(records)
        assert "literalinclude} results/card.bib" in (ROOT / "book/cite.md").read_text("utf-8")

    def test_names_the_scenario_by_its_hash(self):
        said = run("cite", "nominal", "--set", "title=50 % & more_{x}").stdout
        assert NOMINAL.digest[:16] in said
        assert r"50 \% \& more\_\textbraceleft{}x\textbraceright{}" in said
        unpaired = run("cite", "nominal", "--set", "title=one { brace").stdout
        assert len(parse_string(unpaired, "bibtex").entries) == 2
        assert "note" not in run("cite").stdout


def test_json_of_a_scorecard_has_hashes(folder):
    found = json.loads(run("benchmark", "--rounds", "2", "--scenarios", "nominal", "--json").stdout)
    assert found["scenarios"]["nominal"]["hash"] == NOMINAL.digest
