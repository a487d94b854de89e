"""Grids of scenario values: checked first, cut into blocks, computed point by point."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import combinations, product
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from card.base import DISTRIBUTION
from card.base.arrays import check_library, one_thread
from card.base.errors import ScenarioError, no_scenario
from card.base.functions import OwnFunction
from card.base.overrides import canonical, overlap
from card.base.units import FloatArray
from card.base.yaml_files import label
from card.costs import System, checked
from card.policies import Policy, named
from card.scenario import Known, Scenario
from card.scenario.fleets import alternatives
from card.simulation import UNITS, draw, outcomes, rounds_and_seed
from card.studies.bootstrap import interval_of_means, run_of
from card.studies.scenario_values import parameters
from card.studies.sweep_values import coordinate, listed_values

if TYPE_CHECKING:
    import xarray as xr

Block = tuple[slice, ...]
"""Part of a grid, one slice per path."""
Arrays = dict[str, FloatArray]
"""Means per quantity, dims `(*paths, policy, state, device)`."""

COSTS = ("delay_s", "energy_j", "device_energy_j")
INTERVALS = tuple(f"{name}_{end}" for end in ("low", "high") for name in COSTS)
"""Ends of bootstrap 95 % intervals over rounds, of means over states and devices, too."""
BLOCKS = 64
"""Blocks that a grid is cut into, until a block holds `POINTS`."""
POINTS = 256
"""Points of a block at most, so that a minute's work is never lost."""
MOST_VALUES = 10_000
"""Values of all paths at most, each of which is tried before anything is computed."""
MOST_POINTS = 1_000_000
"""Points of a grid at most, some hours' work."""
BLOCK_BYTES = 2**24
"""Size of a block's means at most [byte], so that a few in flight keep memory bounded."""


def round_means(
    scenario: Scenario,
    chosen: Mapping[str, Policy],
    rounds: int | None,
    seed: int | None,
    library: str = "numpy",
) -> Arrays:
    """Means over rounds of every policy's decisions and costs, dims `(policy, state, device)`.

    Also the bootstrap intervals of `INTERVALS`, dims `(policy,)`.
    """
    arrays = System.of(scenario)
    draws, backend = draw(arrays, scenario, rounds, seed, library), check_library(library)
    number = scenario.simulation.seed if seed is None else seed
    results = [outcomes(arrays, draws, *entry, number) for entry in chosen.items()]

    def mean(values: Any) -> FloatArray:
        return backend.numpy(backend.xp.mean(backend.floats(values), axis=-1))

    per_round = [
        [backend.numpy(result[name]).mean(axis=(0, 1)) for name in COSTS] for result in results
    ]
    table = np.array(per_round)
    run = run_of(scenario.link.shadowing_coherence_rounds, table.shape[-1])
    ends = interval_of_means(number, table, run=run)  # low and high, policy, quantity
    if table.shape[-1] == 1:
        ends = np.full_like(ends, np.nan)
    return {
        **{name: np.stack([mean(result[name]) for result in results]) for name in results[0]},
        **dict(zip(INTERVALS, np.moveaxis(ends, 1, -1).reshape(-1, len(chosen)), strict=True)),
    }


@dataclass(frozen=True)
class Grid:
    """Scenarios that differ in the values of some paths, and the policies to score on each."""

    scenario: Scenario
    """What the paths vary."""
    over: dict[str, list[Any]]
    """Values per dotted path."""
    policies: dict[str, Policy]
    """The policies, by name."""
    rounds: int | None
    """Rounds of every point; the scenario's when None."""
    seed: int | None
    """Seed of every point; the scenario's when None."""
    library: str = "numpy"
    """What computes, one of `card.base.arrays.LIBRARIES`."""
    known: Known = field(default_factory=Known)
    """What hardware and LLMs of the values are, by name, as they were when they were checked."""

    @classmethod
    def checked(
        cls,
        scenario: Scenario,
        over: Mapping[str, Sequence[Any]],
        policies: Sequence[str],
        rounds: int | None = None,
        seed: int | None = None,
        library: str = "numpy",
    ) -> Grid:
        """Grid of which every value has been tried, the other paths at their first.

        Raises
        ------
        ScenarioError
            If a path is unknown or given twice, a value refused, or a list empty.
        """
        if not isinstance(scenario, Scenario):
            raise no_scenario(scenario)
        if not isinstance(over, Mapping) or not over:
            raise ScenarioError(
                f"over = {over!r:.40} is not allowed; give values per path, e.g. "
                "objective.delay_weight: [0.2, 0.8]."
            )
        if isinstance(policies, str) or not isinstance(policies, Sequence) or not policies:
            raise ScenarioError(
                f"policies = {policies!r:.40} is not allowed; give a list of names, e.g. [card]."
            )
        chosen = named(policies)
        rounds_and_seed(scenario, rounds, seed)
        check_library(library)
        grid = cls(
            scenario,
            {str(path): listed_values(path, values) for path, values in over.items()},
            chosen,
            rounds,
            seed,
            library,
        )
        grid._check_paths()
        return grid

    def _check_paths(self) -> None:
        if sum(self.shape) > MOST_VALUES:
            raise ScenarioError(
                f"over has {sum(self.shape):,} values, which is not allowed; give at most "
                f"{MOST_VALUES:,}, or sweep them in parts."
            )
        if prod(self.shape) > MOST_POINTS:
            raise ScenarioError(
                f"over has {' x '.join(map(str, self.shape))} = {prod(self.shape)} points, which "
                f"is not allowed; give at most {MOST_POINTS}, or sweep them in parts."
            )
        for path in self.over:
            if path.split(".")[0] in ("title", "policies", "sources"):
                raise ScenarioError(f"over.{path} is not allowed; sweep a value of the model.")
            part = getattr(self.scenario, path, None)
            if path in UNITS and part is not None:  # a dataset has one thing of a name
                below = [f"{path}.{key}" for key in type(part).model_fields]
                raise ScenarioError(
                    f"over.{path} is not allowed, since a result is called so; sweep keys below "
                    f"it: {', '.join(below)}."
                )
        raw = self.scenario.model_dump(mode="json")
        paths = {path: canonical(path, raw) for path in sorted(self.over)}
        for one, other in combinations(paths, 2):
            if paths[one] == paths[other]:
                raise ScenarioError(f"over: {one} and {other} are one value; sweep one of them.")
            if overlap(paths[one], paths[other]):
                raise ScenarioError(f"over: {other} is a part of {one}; sweep one of them.")
        for name, value in (("rounds", self.rounds), ("seed", self.seed)):
            swept = next((p for p in paths if overlap(paths[p], f"simulation.{name}")), None)
            if value is not None and swept:
                raise ScenarioError(
                    f"{name} = {value} and over.{swept} exclude each other; give one of them."
                )
        first = self._first
        if len(first) > 1:
            self._check_point(f"over, at {_where(first)}", first)
        for path in self.over:
            for value in self._tried(path)[len(first) > 1 :]:
                what = f"over.{path}, value {label(value)}"
                self._check_point(what, {**first, path: value})

    def _check_point(self, what: str, values: Mapping[str, Any]) -> None:
        try:
            point = self.scenario.updated(values, known=self.known)
            checked(point)
            self.known.boards.update(point.boards)
            self.known.llms.update(point.known.llms)
            self.known.traces.update(point.known.traces)
            self.known.leakages.update(point.known.leakages)
            self.known.penalties.update(point.known.penalties)
        except ScenarioError as error:
            raise ScenarioError(f"{what}: {error}") from None
        for part, ours, theirs in (
            ("devices", _names(self.scenario), _names(point)),
            ("channel_states", list(self.scenario.states), list(point.states)),
        ):
            if ours != theirs:
                raise ScenarioError(
                    f"{what}: {part} are then {', '.join(theirs)}; all points need the same, "
                    f"{', '.join(ours)}. Compare two studies instead."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Values per path."""
        return tuple(len(values) for values in self.over.values())

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of the means."""
        return (*self.over, "policy", "state", "device")

    def dims_of(self, name: str) -> tuple[str, ...]:
        """Dimensions of one quantity: the ends of an interval have neither state nor device."""
        return self.dims[: -2 if name in INTERVALS else None]

    @property
    def block_shape(self) -> tuple[int, ...]:
        """Values per path in a block, whole last paths, so that a block is a run of points."""
        inner = (len(self.policies), len(self.scenario.states), len(self.scenario.devices))
        point_bytes = 8 * len(UNITS) * prod(inner)
        points = min(max(1, ceil(prod(self.shape) / BLOCKS)), POINTS, BLOCK_BYTES // point_bytes)
        shape = []
        for size in reversed(self.shape):
            shape.append(max(1, min(size, points)))
            points //= size
        return tuple(reversed(shape))

    def blocks(self) -> Iterator[Block]:
        """The blocks, in the order of their points."""
        return blocks(self.shape, self.block_shape)

    def compute(self, block: Block) -> Arrays:
        """Means of a block's points."""
        values = [items[part] for items, part in zip(self.over.values(), block, strict=True)]
        points = []
        for combination in product(*values):
            point = dict(zip(self.over, combination, strict=True))
            try:
                changed = self.scenario.updated(point, known=self.known)
                with one_thread():  # other threads or processes compute other blocks meanwhile
                    found = round_means(
                        changed, self.policies, self.rounds, self.seed, self.library
                    )
                points.append(found)
            except ScenarioError as error:
                raise ScenarioError(f"at {_where(point)}: {error}") from None
        sizes = tuple(map(len, values))
        stacked = {name: np.stack([point[name] for point in points]) for name in points[0]}
        return {name: item.reshape(*sizes, *item.shape[1:]) for name, item in stacked.items()}

    def dataset(self, arrays: Mapping[str, Any]) -> xr.Dataset:
        """Means with coordinates, units and provenance."""
        import xarray as xr  # xarray brings pandas, which `import card` must not load

        items = list(parameters(self.scenario))
        by_path = {item.shared: item.unit for item in items} | {i.path: i.unit for i in items}
        raw = self.scenario.model_dump(mode="json")
        paths = {path: canonical(path, raw) for path in self.over}
        of_cell = {
            path: re.sub(r"^devices\.[^.]+\.link\.", "link.", name) for path, name in paths.items()
        }
        units = {path: by_path.get(of_cell[path].replace(".*", "")) for path in self.over}
        axes = {}
        for path, values in self.over.items():
            told = {"units": units[path], "long_name": paths[path]}
            told = {key: text for key, text in told.items() if text and text != path}
            axes[path] = (path, coordinate(values), told)
        return xr.Dataset(
            {
                name: (
                    self.dims_of(name),
                    array,
                    {"units": UNITS[name.removesuffix("_low").removesuffix("_high")]},
                )
                for name, array in arrays.items()
            },
            coords={
                **axes,
                "policy": list(self.policies),
                "state": list(self.scenario.states),
                "device": _names(self.scenario),
            },
            attrs=self.provenance(),
        )

    @property
    def content(self) -> list[Any]:
        """What the means follow from, wherever files lie and whatever they are called."""
        from_what = self.provenance()
        told = [from_what[key] for key in ("rounds", "seed", "library", "source")]
        over = [[path, list(self._digests(path))] for path in self.over]
        policies = {
            name: policy.source if isinstance(policy, OwnFunction) else None
            for name, policy in self.policies.items()
        }
        return [self.scenario.content, over, list(policies.items()), INTERVALS, *told]

    @property
    def _first(self) -> dict[str, Any]:
        """Every path at its first value."""
        return {path: values[0] for path, values in self.over.items()}

    def _tried(self, path: str) -> list[Any]:
        """Values of a path, and what else may be drawn of one at another seed."""
        return [one for value in self.over[path] for one in (value, *alternatives(value))]

    def _digests(self, path: str) -> Iterator[str]:
        """Digests of what a path's values make of the scenario, the other paths at their first."""
        for value in self._tried(path):
            yield self.scenario.updated({**self._first, path: value}, known=self.known).digest

    def provenance(self) -> dict[str, str | int]:
        """What the means were computed from: the whole scenario with its sources, and the sweep."""
        simulation = self.scenario.simulation
        return {
            "title": self.scenario.title,
            "scenario": json.dumps(self.scenario.model_dump(mode="json")),
            "sweep": json.dumps(self.over),
            "hardware": json.dumps(
                {name: board.model_dump(mode="json") for name, board in self.known.boards.items()}
            ),
            "llms": json.dumps(self.known.llms),
            "traces": json.dumps({name: one.digest for name, one in self.known.traces.items()}),
            "rounds": simulation.rounds if self.rounds is None else self.rounds,
            "seed": simulation.seed if self.seed is None else self.seed,
            "library": self.library,
            "source": f"card {metadata.version(DISTRIBUTION)}",
            "scenario_hash": self.scenario.digest,
        }


def blocks(shape: Sequence[int], block_shape: Sequence[int]) -> Iterator[Block]:
    """The blocks of a grid, in the order of their points."""
    starts = (range(0, size, step) for size, step in zip(shape, block_shape, strict=True))
    for corner in product(*starts):
        yield tuple(
            slice(start, min(start + step, size))
            for start, step, size in zip(corner, block_shape, shape, strict=True)
        )


def _where(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{path} = {label(value)}" for path, value in point.items())


def _names(scenario: Scenario) -> list[str]:
    return [device.name for device in scenario.devices]
