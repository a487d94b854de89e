"""A sweep as a table for other programs, with the intervals of its means."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from itertools import product
from typing import Any

from card.base.yaml_files import label
from card.scenario import Scenario
from card.simulation import simulate
from card.studies.bootstrap import mean_intervals


def points_csv(
    scenario: Scenario,
    over: Mapping[str, Sequence[Any]],
    policies: Sequence[str],
    rounds: int,
    seed: int,
    library: str = "numpy",
) -> str:
    """CSV with a row per point of a grid and policy: mean delay [s] and energies [J], in SI units.

    Beside each mean stand the ends of its bootstrap 95 % interval over rounds, empty for a single
    round; the last columns are the rounds and the seed.

    Parameters
    ----------
    scenario
        What the grid varies.
    over
        Values per dotted path.
    policies
        Names of the policies.
    rounds
        Rounds of every point.
    seed
        Seed of every point.
    library
        What computes, one of `card.base.arrays.LIBRARIES`.

    Raises
    ------
    ScenarioError
        If a value, a policy, rounds or seed are refused.
    """
    rows = []
    for point in product(*over.values()):
        values = dict(zip(over, point, strict=True))
        found = mean_intervals(simulate(scenario.updated(values), policies, rounds, seed, library))
        given = {path: value if _plain(value) else label(value) for path, value in values.items()}
        for policy in policies:
            row = {**given, "policy": policy}
            for name, statistics in found.sel(policy=policy).data_vars.items():
                mean, low, high = statistics.values.tolist()
                ends = {f"{name}_low": low, f"{name}_high": high} if rounds > 1 else {}
                row |= {str(name): mean, f"{name}_low": "", f"{name}_high": "", **ends}
            rows.append({**row, "rounds": rounds, "seed": seed})
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)
