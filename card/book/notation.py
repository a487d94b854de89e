"""The symbols of the book, its numbered equations, and where the package has them.

One table, `data/notation.yml`: the page *Notation* is written from it, the formulas of the book
link to it, and docstrings name symbols, units and equations as it does.
"""

from __future__ import annotations

import re
from functools import lru_cache

from card.base.data_files import DATA
from card.base.errors import validated
from card.base.schema import Record
from card.base.yaml_files import read_yaml

_GREEK = {
    "Delta": "Δ",
    "Gamma": "Γ",
    "Lambda": "Λ",
    "alpha": "α",
    "beta": "β",
    "delta": "δ",
    "ell": "ℓ",
    "eta": "η",
    "gamma": "γ",
    "kappa": "κ",
    "lambda": "λ",
    "mu": "μ",
    "nu": "ν",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "xi": "ξ",
}
_STYLE = re.compile(r"\\(?:mathrm|mathcal)(?=\{)")


class Symbol(Record):
    """One symbol: how it is set, what it means, and what the package calls it."""

    latex: str
    """How the book sets it, without its arguments."""
    unit: str = ""
    """Unit of what the package holds; 1 for a number, empty for what is none."""
    meaning: str
    """What it stands for."""
    defined: str
    """Label of the equation or figure that introduces it."""
    home: str = ""
    """Attribute or function below `card` that has it; empty where it has no name in code."""
    name: str = ""
    """Parameter of that function; empty for an attribute or the function itself."""
    chapter: str = ""
    """Number of the only chapter in which it means this; empty where it does everywhere."""

    @property
    def anchor(self) -> str:
        """Anchor of its entry on the page *Notation*."""
        letters = re.findall(r"[A-Za-z0-9]+", _STYLE.sub("", self.latex))
        return "-".join(filter(None, ("symbol", *letters, self.chapter)))

    @property
    def plain(self) -> str:
        """How docstrings write it."""
        text = re.sub(r"[{}]", "", _STYLE.sub("", self.latex))
        return re.sub(r"\\([A-Za-z]+) ?", lambda found: _GREEK.get(found[1], found[1]), text)

    @property
    def code(self) -> str:
        """What the package calls it."""
        return self.name or self.home.rpartition(".")[2]


class Equation(Record):
    """One numbered equation and what implements it."""

    label: str
    """Label in the book."""
    meaning: str
    """What it states."""
    home: str = ""
    """Function or attribute below `card` that computes it."""
    reason: str = ""
    """Why nothing in the package does."""


class Notation(Record):
    """The whole table."""

    symbols: dict[str, tuple[Symbol, ...]]
    """Symbols by topic."""
    equations: tuple[Equation, ...]
    """Numbered equations in the order of the book."""

    @property
    def listed(self) -> tuple[Symbol, ...]:
        """Symbols of all topics."""
        return tuple(symbol for group in self.symbols.values() for symbol in group)

    def symbol(self, formula: str, chapter: str = "") -> Symbol | None:
        """The symbol that a formula consists of, with its arguments or without; None for others.

        Parameters
        ----------
        formula
            LaTeX of an inline formula, such as `F_D(c)`.
        chapter
            Number of the chapter that it stands in, such as `03`; its own meanings go first.
        """
        name = re.sub(r"\([a-z](, ?[a-z])?\)$", "", " ".join(formula.split()))
        found = [s for s in self.listed if s.latex == name and s.chapter in (chapter, "")]
        return max(found, key=lambda symbol: symbol.chapter, default=None)


@lru_cache
def notation() -> Notation:
    """The table of symbols and equations."""
    path = DATA / "notation.yml"
    return validated(Notation, read_yaml(path), str(path))
