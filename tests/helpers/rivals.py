"""The same decision by general optimisers and by a plain loop, one device-round at a time."""

from dataclasses import dataclass
from math import cbrt

import numpy as np
from pymoo.core.mixed import MixedVariableGA
from pymoo.core.problem import ElementwiseProblem
from pymoo.core.variable import Integer, Real
from pymoo.optimize import minimize
from scipy.optimize import differential_evolution, minimize_scalar

from card.costs import fixed_parts, server_cycles
from card.solver import extremes, prices


@dataclass(frozen=True)
class Instance:
    """U of one device-round in plain floats, so that the search is timed and not the sums."""

    fixed_s: list[float]
    cycles: list[float]
    low_hz: float
    high_hz: float
    static_power_w: float
    power_coefficient: float
    delay_price: float
    energy_price: float
    delay_min_s: float
    energy_min_j: float

    @classmethod
    def of(cls, system, device, up, down):
        """Every cut allowed, as in the shipped scenario."""
        bounds = extremes(system, device[None], up[None], down[None])
        delay_price, energy_price = (
            float(price[0]) for price in prices(bounds, system.delay_weight)
        )
        cuts = np.arange(system.num_blocks + 1)
        return cls(
            fixed_s=sum(fixed_parts(system, device, cuts, up, down)).tolist(),
            cycles=server_cycles(system, cuts).tolist(),
            low_hz=float(system.frequency_min_hz[device]),
            high_hz=system.frequency_max_hz,
            static_power_w=system.static_power_w,
            power_coefficient=system.power_coefficient,
            delay_price=delay_price,
            energy_price=energy_price,
            delay_min_s=float(bounds.delay_min_s[0]),
            energy_min_j=float(bounds.energy_min_j[0]),
        )

    def value(self, cut, clock):
        """U."""
        busy = self.cycles[cut] / clock
        delay = self.fixed_s[cut] + busy
        energy = busy * (self.static_power_w + self.power_coefficient * clock**3)
        late, spent = delay - self.delay_min_s, energy - self.energy_min_j
        return self.delay_price * late + self.energy_price * spent


def by_loop(instance):
    """CARD's clock, then every cut in turn."""
    exchange = instance.delay_price / instance.energy_price
    stationary = cbrt((exchange + instance.static_power_w) / (2 * instance.power_coefficient))
    clock = min(max(stationary, instance.low_hz), instance.high_hz)
    return min((instance.value(cut, clock), cut, clock) for cut in range(len(instance.cycles)))


def by_scipy(instance):
    """A bounded scalar minimisation for every cut."""
    found = []
    for cut in range(len(instance.cycles)):
        best = minimize_scalar(
            lambda clock, cut=cut: instance.value(cut, clock),
            bounds=(instance.low_hz, instance.high_hz),
            method="bounded",
        )
        found.append((float(best.fun), cut, float(best.x)))
    return min(found)


def by_evolution(instance):
    """scipy's differential evolution over cut and clock together."""
    last = len(instance.cycles) - 1
    found = differential_evolution(
        lambda x: instance.value(round(x[0]), x[1] * instance.high_hz),
        bounds=[(0, last), (instance.low_hz / instance.high_hz, 1)],
        integrality=[True, False],
        rng=0,
    )
    return float(found.fun), round(found.x[0]), found.x[1] * instance.high_hz


class _Mixed(ElementwiseProblem):
    """Cut and share of the highest clock, as pymoo wants them."""

    def __init__(self, instance):
        self.instance = instance
        low = instance.low_hz / instance.high_hz
        cut = Integer(bounds=(0, len(instance.cycles) - 1))
        super().__init__(vars={"cut": cut, "share": Real(bounds=(low, 1.0))}, n_obj=1)

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = self.instance.value(int(x["cut"]), float(x["share"]) * self.instance.high_hz)


def by_genetic(instance):
    """pymoo's genetic algorithm for mixed variables, 2,000 evaluations."""
    algorithm = MixedVariableGA(pop_size=20)
    found = minimize(_Mixed(instance), algorithm, ("n_evals", 2000), seed=0, verbose=False)
    return float(found.F[0]), int(found.X["cut"]), float(found.X["share"]) * instance.high_hz
