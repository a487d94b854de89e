"""What CARD reaches in a scenario, and what deciding more, or otherwise, reaches beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from card.base.errors import ScenarioError
from card.scenario import Scenario
from card.simulation import simulate
from card.studies.bootstrap import mean_intervals, reductions

if TYPE_CHECKING:
    import xarray as xr

ENDS = ("device_only", "server_only")
"""What both reductions are read against, in the scenario as it stands."""
MEANS = ("delay_s", "energy_j", "device_energy_j")


class Extension(NamedTuple):
    """One way to go beyond the letter."""

    changes: dict[str, Any]
    """What it changes in a scenario."""
    policy: str = "card"
    """Policy that decides."""


def _bits(*widths: int) -> dict[str, Any]:
    return {"wire.uplink_bits": list(widths), "wire.downlink_bits": list(widths)}


_KEPT = {"training.topology": "u-shaped", "training.cut_range": [1, None]}

EXTENSIONS = {
    "CARD": Extension({}),
    "16 or 8 bits": Extension(_bits(16, 8)),
    "16, 8 or 4 bits": Extension(_bits(16, 8, 4)),
    "budget": Extension({}, "budget"),
    "devices priced": Extension({}, "devices_priced"),
    "labels, embeddings kept": Extension(_KEPT),
    "both kept, 16 or 8 bits": Extension(_KEPT | _bits(16, 8)),
}
"""CARD and its extensions by name, in the order of tables."""


def extensions(
    scenario: Scenario, rounds: int | None = None, seed: int | None = None
) -> xr.Dataset:
    """Simulate CARD, its extensions and the ends of the scale on common draws.

    An extension that a scenario cannot have is left out, such as prices of devices whose power is
    unknown, or a block on a device that cannot hold one.

    Parameters
    ----------
    scenario
        The scenario.
    rounds, seed
        As `card.simulate` takes them.

    Returns
    -------
    xarray.Dataset
        As `card.simulate` returns, with the names of `EXTENSIONS` and `ENDS` as policies.

    Raises
    ------
    ScenarioError
        If the scenario itself cannot be simulated.
    """
    import xarray as xr  # xarray brings pandas, which `import card` must not load

    parts = [simulate(scenario, ENDS, rounds, seed)]
    for name, (changes, policy) in EXTENSIONS.items():
        try:
            found = simulate(scenario.updated(changes), [policy], rounds, seed)
        except ScenarioError:
            continue
        parts.append(found.assign_coords(policy=[name]))
    options: Any = {"data_vars": "minimal", "coords": "minimal", "compat": "override"}
    return xr.concat(parts, "policy", combine_attrs="override", **options)


def reached(results: xr.Dataset) -> dict[str, dict[str, Any]]:
    """What CARD and each extension take on the average, and save against the ends of the scale.

    Parameters
    ----------
    results
        What `extensions` returns.

    Returns
    -------
    dict[str, dict[str, Any]]
        By name `delay_s`, `energy_j` and `device_energy_j`, each a mean with its 95 % interval, and
        reductions as `card.studies.bootstrap.reductions` has them: of `delay` against the policy
        `device_only`, of server `energy` against `server_only`.
    """
    means = mean_intervals(results)
    alone, served = (reductions(results, baseline=end) for end in ENDS)
    return {
        name: {
            **{key: means[key].sel(policy=name).values.tolist() for key in MEANS},
            "delay": alone[name]["delay"],
            "energy": served[name]["energy"],
        }
        for name in results.policy.values.tolist()
        if name not in ENDS
    }
