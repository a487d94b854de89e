"""A comparison of two studies as one web page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from card.base.units import counted
from card.book.markdown import interval, percent
from card.studies.comparison import Comparison
from card.studies.scenario_values import with_unit

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.92rem;
        display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.9rem 0.35rem 0;
         border-bottom: 1px solid #ddd; max-width: 24rem; overflow-wrap: break-word; }
td { min-width: 7rem; }
thead th { border-bottom: 2px solid #0072b2; }
td.number { min-width: 0; text-align: right; white-space: nowrap; }
code { font-size: 0.92em; }
"""
WORDS = {
    "delay_s": ("delay", "s"),
    "energy_j": ("server energy", "J"),
    "device_energy_j": ("device energy", "J"),
}
"""What a quantity is called, and its unit."""


def comparison_page(found: Comparison, names: tuple[str, str]) -> str:
    """Page with the values that differ, the means of both, and CARD's reductions in both.

    Parameters
    ----------
    found
        Result of `card.studies.comparison.compare`.
    names
        What the user called the two studies.
    """
    first, second = map(escape, names)
    parameters = [
        (f"<code>{escape(d.path)}</code>", _text(d.first, d.unit), _text(d.second, d.unit))
        for d in found.parameters
    ]
    parts = [
        f"<h1>{first} and {second}</h1>",
        f"<p><b>{first}</b>: {escape(found.titles[0])}<br><b>{second}</b>: "
        f"{escape(found.titles[1])}</p>",
        "<h2>What differs</h2>",
        _table(("Parameter", first, second), parameters, 0) if parameters else "<p>Nothing.</p>",
        "<h2>What comes out</h2>",
        f"<p>Means of one round over states, devices and {counted(found.rounds, 'round')}, seed "
        f"{found.seed}. Both studies share their random numbers; the interval of a change is "
        "bootstrapped over rounds.</p>",
        _table(("Policy", "mean", first, second, "change", "95 % interval"), _changes(found), 4),
        "<h2>What CARD saves</h2>",
        _table(
            ("Against", "of", first, "95 % interval", second, "95 % interval"),
            _reductions(found),
            4,
        ),
    ]
    head = (
        "<meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{first} and {second}</title>"
    )
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}<style>{_STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(parts)}\n</body></html>"
    )


def amount(value: float | None, unit: str = "") -> str:
    """A mean, with its unit if one is given; a dash if it is not known."""
    return "–" if value is None else f"{value:,.1f} {unit}".rstrip()


def signed(value: float | None, unit: str = "") -> str:
    """A change with its sign, likewise."""
    return "–" if value is None else f"{value:+,.1f} {unit}".rstrip().replace("-", "−")


def span(low: float | None, high: float | None, unit: str = "") -> str:
    """Interval of a change, likewise."""
    return "–" if low is None else f"{signed(low)} to {signed(high, unit)}"


def _changes(found: Comparison) -> Iterable[tuple[str, ...]]:
    for item in found.changes:
        word, unit = WORDS[item.quantity]
        means = (amount(item.first, unit), amount(item.second, unit))
        moved = (signed(item.change, unit), span(item.low, item.high, unit))
        yield (f"<code>{escape(item.policy)}</code>", word, *means, *moved)


def _reductions(found: Comparison) -> Iterable[tuple[str, ...]]:
    for policy, quantities in found.reductions[0].items():
        for quantity, ours in quantities.items():
            theirs = found.reductions[1][policy][quantity]
            cells = [(percent(r["value"]), interval(r["low"], r["high"])) for r in (ours, theirs)]
            yield (f"<code>{escape(policy)}</code>", quantity, *cells[0], *cells[1])


def _text(value: object, unit: str) -> str:
    return escape(with_unit(value, unit))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> str:
    """Table whose last columns are numbers."""
    text = len(head) - numbers
    cells = [
        "".join(
            f"<td{' class=number' if place >= text else ''}>{cell}</td>"
            for place, cell in enumerate(row)
        )
        for row in rows
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in cells)
    titles = "".join(f"<th scope='col'>{name}</th>" for name in head)
    return f"<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
