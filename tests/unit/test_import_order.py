"""The house: each room imports only from those to its left, and no import leads back."""

from graphlib import TopologicalSorter

import pytest
from house import FILES, IMPORTS, NEEDS_TORCH, PICTURE, drawing, room

from card.figures.image_files import themed

ORDER = [
    "base",
    "hardware",
    "scenario",
    "llm channel",
    "costs",
    "solver",
    "policies",
    "simulation",
    "training",
    "profiling",
    "studies",
    "figures",
    "book",
    "cli",
    "__main__",
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names.split()}
WITHOUT_TORCH = [module for module in FILES if room(module) not in NEEDS_TORCH | {"", "cli"}]


def test_every_room_has_its_place():
    assert {room(module) for module in FILES} - {""} == set(RANK)


@pytest.mark.parametrize("module", [module for module in FILES if room(module)])
def test_imports_come_from_rooms_to_the_left(module):
    others = {room(name) for name in IMPORTS[module]} - {room(module)}
    assert {name for name in others if RANK[name] >= RANK[room(module)]} == set()


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_only_the_command_line_imports_what_needs_torch(module):
    assert {room(name) for name in IMPORTS[module]} & NEEDS_TORCH == set()


def test_no_import_leads_back():
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the circle


def test_the_picture_of_the_house_is_true():
    drawn = themed(drawing()) + "\n"
    assert PICTURE.read_text("utf-8") == drawn, "draw it anew: python tests/helpers/house.py"
