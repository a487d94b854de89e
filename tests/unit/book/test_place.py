"""Where books are built: each study has its own place."""

import shutil

import pytest

from card.base.errors import ScenarioError
from card.book.place import Place
from card.studies.study_file import load_study


@pytest.fixture
def studies(tmp_path):
    """Two studies of one name."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yml").write_text("base: nominal\n", "utf-8")
    return [load_study(tmp_path / folder / "mine.yml") for folder in ("one", "two")]


def test_studies_of_one_name_have_their_own_places(tmp_path, studies):
    first, second = (Place.of_study(tmp_path, study) for study in studies)
    assert first == Place.of(tmp_path, "mine")
    assert second.build.parent == first.build.parent
    assert second.build.name.startswith("mine-")
    assert [Place.of_study(tmp_path, study) for study in studies] == [first, second]


def test_a_study_that_was_moved_keeps_its_place(tmp_path, studies):
    first = Place.of_study(tmp_path, studies[0])
    shutil.move(tmp_path / "one", tmp_path / "three")
    assert Place.of_study(tmp_path, load_study(tmp_path / "three" / "mine.yml")) == first


def test_shipped_ones_are_called_by_their_names(tmp_path):
    assert Place.of_study(tmp_path, load_study("nominal")).build == tmp_path / "_build/nominal"
    assert not (tmp_path / "_build").exists()


@pytest.mark.parametrize("name", ["..yml", "...yml"])
def test_a_name_that_is_none_of_a_folder_is_refused(tmp_path, name):
    (tmp_path / name).write_text("base: nominal\n", "utf-8")
    with pytest.raises(ScenarioError, match="is no name of a folder"):
        Place.of_study(tmp_path, load_study(tmp_path / name))
