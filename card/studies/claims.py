"""The letter's published claims against what this artifact reproduces, guarded against drift."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from card.base.data_files import DATA
from card.base.errors import validated
from card.base.provenance import Source
from card.base.schema import Count, Name, Natural, NotNegative, Number, Record, Share
from card.base.yaml_files import read_yaml
from card.costs import load_scenario, system
from card.scenario import Scenario
from card.simulation import simulate
from card.studies.bootstrap import reductions

# What each benchmark needs of every device: a cut, and that in words
_BENCHMARKS = {
    "device_only": (-1, "hold all blocks"),
    "server_only": (0, "leave all blocks to the server"),
}

Status = Literal[
    "holds untuned", "missed untuned, fitted when calibrated", "does not hold", "drifted"
]
BROKEN: tuple[Status, ...] = ("does not hold", "drifted")
"""What says that the artifact is no longer as it was recorded."""


class ClaimDraws(Record):
    """What the claims are computed on."""

    rounds: Count
    """Rounds per device and channel state."""
    seed: Natural
    """Seed of every random draw."""


class Reproduced(Record):
    """What the artifact last found, as fractions."""

    nominal: Number
    """What the untuned scenario gave."""
    calibrated: Number
    """What the calibrated scenario gave."""
    realistic: Number
    """What the scenario of real machines gave."""


class RecordedClaim(Record):
    """One claim on record."""

    text: Name
    """What the abstract says."""
    source: Source
    """Where it says so."""
    published: Share
    """The abstract's number."""
    quantity: Literal["delay", "energy"]
    """What is reduced."""
    benchmark: Literal["device_only", "server_only"]
    """Policy that the claim is read against."""
    reading: Source
    """Why that one."""
    agreement: NotNegative
    """How far from the abstract's number the calibrated one may be."""
    tolerance: NotNegative
    """How far from the record a recomputed number may be."""
    reproduced: Reproduced
    """The record."""


class ClaimsOnRecord(Record):
    """The whole file `data/claims.yml`."""

    simulation: ClaimDraws
    """What the claims are computed on."""
    claims: dict[Name, RecordedClaim]
    """The claims by id."""


def recorded_claims() -> ClaimsOnRecord:
    """The published claims and what was last reproduced: `data/claims.yml`.

    Raises
    ------
    ScenarioError
        If the file cannot be read, or a value in it is wrong.
    """
    path = DATA / "claims.yml"
    return validated(ClaimsOnRecord, read_yaml(path), str(path))


@dataclass(frozen=True)
class Claim:
    """One published claim and its reproduction; reductions as fractions."""

    id: str
    """C1 or C2."""
    text: str
    """What the abstract says."""
    quantity: str
    """`delay` or `energy`."""
    benchmark: str
    """Policy that the claim is read against (`assumed`)."""
    published: float
    """The abstract's number."""
    nominal: float | None
    """What the untuned scenario gives."""
    calibrated: float | None
    """What the calibrated scenario gives, on draws not used for solving."""
    low: float | None
    """Lower end of the calibrated value's 95 % interval."""
    high: float | None
    """Upper end of the calibrated value's 95 % interval."""
    realistic: float | None
    """What the scenario of real machines gives."""
    intervals: dict[str, list[float | None]]
    """Ends of the 95 % interval of each of the three, by the scenario's name."""
    status: Status
    """`drifted` when a value is not what was last recorded in `data/claims.yml`."""
    drift: str
    """What differs from the record; empty when nothing does."""
    scenarios: dict[str, str]
    """Titles of the scenarios that `nominal`, `calibrated` and `realistic` are of."""
    rounds: int
    """Rounds simulated."""
    seed: int
    """Seed of the draws."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `card claims --json` prints them."""
        return asdict(self)


def claims() -> list[Claim]:
    """Recompute every claim and compare it with the abstract and with the record."""
    record = recorded_claims()
    settings = record.simulation
    scenarios = {name: load_scenario(name) for name in Reproduced.model_fields}
    drawn = {
        "scenarios": {name: scenario.title for name, scenario in scenarios.items()},
        "rounds": settings.rounds,
        "seed": settings.seed,
    }
    found = {
        name: reductions(
            simulate(
                scenario,
                ["card", "device_only", "server_only"],
                rounds=settings.rounds,
                seed=settings.seed,
            )
        )
        for name, scenario in scenarios.items()
    }
    return [_claim(name, entry, found, drawn) for name, entry in record.claims.items()]


@dataclass(frozen=True)
class Application:
    """A published claim, read off another scenario: reductions as fractions."""

    id: str
    """C1 or C2."""
    published: float
    """The abstract's number."""
    value: float | None
    """The scenario's own reduction; None where the claim does not apply."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    """Upper end of its 95 % interval."""
    reason: str
    """Why the claim does not apply to the scenario; empty when it does."""


def applied(
    scenario: Scenario, rounds: int | None = None, seed: int | None = None
) -> list[Application]:
    """Each claim's reduction in any scenario, where the benchmark that it is read against exists.

    A claim applies when every device can do what its benchmark says: keep all blocks
    (`device_only`), or keep none (`server_only`).

    Parameters
    ----------
    scenario
        The scenario.
    rounds
        Rounds of the simulation; the scenario's when None.
    seed
        Its seed; likewise.
    """
    record = recorded_claims().claims
    arrays = system(scenario)
    found = reductions(simulate(scenario, ["card", *_BENCHMARKS], rounds=rounds, seed=seed))
    applications = []
    for name, entry in record.items():
        benchmark = entry.benchmark
        cut, need = _BENCHMARKS[benchmark]
        lacking = [
            device
            for device, fits in zip(arrays.device_names, arrays.feasible[:, cut], strict=True)
            if not fits
        ]
        value = found[benchmark][entry.quantity]
        reason = f"{', '.join(lacking)} cannot {need}" if lacking else ""
        if not lacking and value["value"] is None:
            reason = f"{benchmark} spends nothing that could be saved"
        values = dict.fromkeys(value) if reason else value
        applications.append(
            Application(id=name, published=entry.published, **values, reason=reason)
        )
    return applications


def _claim(name: str, entry: RecordedClaim, found: dict[str, Any], drawn: dict[str, Any]) -> Claim:
    here = {key: found[key][entry.benchmark][entry.quantity] for key in found}
    drifts = [
        f"{key} is {here[key]['value']:.5f}, recorded {recorded:.5f} ± {entry.tolerance:g}"
        for key, recorded in entry.reproduced
        if not abs(here[key]["value"] - recorded) <= entry.tolerance
    ]
    calibrated = here["calibrated"]
    untuned, fitted = (
        abs(here[key]["value"] - entry.published) <= entry.agreement
        for key in ("nominal", "calibrated")
    )
    status: Status = "holds untuned" if untuned else "missed untuned, fitted when calibrated"
    if not fitted:
        status = "does not hold"
    return Claim(
        id=name,
        text=entry.text,
        quantity=entry.quantity,
        benchmark=entry.benchmark,
        published=entry.published,
        nominal=here["nominal"]["value"],
        calibrated=calibrated["value"],
        low=calibrated["low"],
        high=calibrated["high"],
        realistic=here["realistic"]["value"],
        intervals={key: [one["low"], one["high"]] for key, one in here.items()},
        status="drifted" if drifts else status,
        drift="; ".join(drifts),
        **drawn,
    )
