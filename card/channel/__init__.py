"""The radio link: gains, what shadowing and fading do to them, the rates that follow."""

from card.channel.block_fading import expected_growth, running_means
from card.channel.gains import draw_gains, mean_gain, over_cells, scenario_gain
from card.channel.rates import (
    awgn_rate_bps,
    ergodic_rate_bps,
    expected_rates,
    link_rates,
    rate_bps,
    snr,
    state_rates,
    usable_snr,
)
