"""What a decision costs: a scenario as arrays, and delay and energy of one round on them."""

from card.costs.arrays import System, check_one_in_flight, system
from card.costs.loading import checked, load_scenario, notes
from card.costs.rounds import (
    Costs,
    busy_overhead_s,
    busy_s,
    delay_s,
    energy_j,
    evaluate,
    fixed_parts,
    overlapped_s,
    round_costs,
    server_cycles,
    server_power_w,
    trips_s,
    waited_s,
)
