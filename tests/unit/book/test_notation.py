"""The table of symbols and equations agrees with the package and with itself."""

import importlib
import inspect
import re

import pytest
from sphinx.pycode import ModuleAnalyzer

from card.book.notation import notation

SYMBOLS = notation().listed
IN_CODE = [symbol for symbol in SYMBOLS if symbol.home]
ATTRIBUTES = [symbol for symbol in IN_CODE if symbol.home.split(".")[-2][0].isupper()]
"""Those that are a value of a class; the docstring of a function is about more than one."""
COMPUTED = [equation for equation in notation().equations if equation.home]
UNITS = {
    "_hz": "Hz",
    "_bps": "bit/s",
    "_bit": "bit",
    "_bits": "bit",
    "_flop": "FLOP",
    "_flops": "FLOP/s",
    "_s": "s",
    "_j": "J",
    "_w": "W",
    "_m": "m",
    "_gb": "GB",
    "_db": "dB",
    "_dbm": "dBm",
    "_dbm_per_hz": "dBm/Hz",
    "_w_per_hz": "W/Hz",
    "_flop_per_byte": "FLOP/byte",
    "_byte_per_s": "byte/s",
    "flops_per_hz": "FLOP",
}
"""Unit that the end of a name promises; the longest end counts."""


def named(item):
    return getattr(item, "label", None) or item.anchor


def module_and_path(home):
    """Module below `card` that a home starts with, and the names that remain."""
    parts = home.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            return importlib.import_module(".".join(["card", *parts[:count]])), parts[count:]
        except ModuleNotFoundError:
            continue
    raise AssertionError(f"{home} is in no module")


def docstring(home):
    """What the package says about an attribute or function."""
    module, path = module_and_path(home)
    thing = getattr(module, path[0])
    owner, key = (thing.__module__, path[0]) if len(path) > 1 else (module.__name__, "")
    documented = ModuleAnalyzer.for_module(owner).find_attr_docs()
    if lines := documented.get((key, path[-1])):
        return " ".join(lines)
    thing = module
    for name in path:
        thing = getattr(thing, name)
    return inspect.getdoc(thing) or ""


def test_every_symbol_has_an_entry_of_its_own():
    assert len({symbol.anchor for symbol in SYMBOLS}) == len(SYMBOLS)
    assert len({(symbol.latex, symbol.chapter) for symbol in SYMBOLS}) == len(SYMBOLS)


def test_docstrings_can_tell_symbols_apart():
    everywhere = [symbol.plain for symbol in SYMBOLS if not symbol.chapter]
    assert len(set(everywhere)) == len(everywhere)


@pytest.mark.parametrize("symbol", IN_CODE, ids=named)
class TestSymbol:
    def test_exists_and_is_documented(self, symbol):
        assert docstring(symbol.home)

    def test_parameter_belongs_to_its_function(self, symbol):
        if symbol.name:
            module, (function,) = module_and_path(symbol.home)
            assert symbol.name in inspect.signature(getattr(module, function)).parameters

    def test_name_promises_its_unit(self, symbol):
        ends = [end for end in UNITS if f"_{symbol.code}".endswith(end)]
        if ends:
            assert symbol.unit == UNITS[max(ends, key=len)]


@pytest.mark.parametrize("symbol", ATTRIBUTES, ids=named)
def test_docstring_names_symbol_and_unit(symbol):
    text = docstring(symbol.home)
    assert f"({symbol.plain})" in text or symbol.chapter
    stated = re.findall(r"\[([^\]]+)\]", text) or ["bit" if "Bits" in text else "1"]
    assert [symbol.unit or "1"] == stated


@pytest.mark.parametrize("equation", notation().equations, ids=named)
def test_equation_is_computed_or_says_why_not(equation):
    assert bool(equation.home) != bool(equation.reason)


@pytest.mark.parametrize("equation", COMPUTED, ids=named)
def test_what_computes_an_equation_names_it(equation):
    assert f":eq:`{equation.label}`" in docstring(equation.home)


class TestLookup:
    @pytest.mark.parametrize("formula", ["F_D", "F_D(c)", "D(c, f)", "S_\\mathrm{up}(c)"])
    def test_arguments_make_no_difference(self, formula):
        assert notation().symbol(formula).latex == formula.partition("(")[0]

    @pytest.mark.parametrize("formula", ["F_D + F_S", "c = I", "2", "F_D(c) / C_D", "E_D E_S"])
    def test_other_formulas_are_no_symbols(self, formula):
        assert notation().symbol(formula) is None

    def test_a_chapter_has_its_own_meanings_first(self):
        assert notation().symbol("B").code == "batch_size"
        assert notation().symbol("B", "01").code == "batch_size"
        assert notation().symbol("B", "03").code == "memory_byte_per_s"

    def test_a_chapter_does_not_lend_its_meanings(self):
        assert notation().symbol("q") is None

    @pytest.mark.parametrize(
        ("latex", "plain"),
        [("F_{\\max}", "F_max"), ("S_\\mathrm{up}", "S_up"), ("\\sigma_X", "σ_X")],
    )
    def test_docstrings_write_symbols_plainly(self, latex, plain):
        assert notation().symbol(latex).plain == plain
