"""What a table of loss penalties says, in sentences that claim no more than its intervals do."""

from __future__ import annotations

from card.scenario.penalties import Estimate, Penalised, PenaltyTable


def penalties_say(table: PenaltyTable) -> str:
    """Which bits raise the loss, which lower it, and which do neither that the seeds can tell."""
    fewer = [one for one in table.penalties if (one.uplink_bits, one.downlink_bits) != (16, 16)]
    worse = [one for one in fewer if one.settled > 0]
    better = [one for one in fewer if one.settled < 0]
    parts = [
        f"Of the {len(fewer)} settings with fewer bits, "
        f"{len(fewer) - len(worse) - len(better)} show no clear difference from 16 bits"
    ]
    if worse:
        most = max(worse, key=lambda one: one.mean)
        parts.append(f"in {len(worse)} the loss is higher, {_named(most)} {estimated(most)} nat")
    if better:
        most = min(better, key=lambda one: one.mean)
        less = Estimate(mean=-most.mean, low=-most.high, high=-most.low)
        parts.append(f"in {len(better)} it is lower, {_named(most)} {estimated(less)} nat")
    return "; ".join(parts) + "."


def learned_says(table: PenaltyTable) -> str:
    """On how many texts training made the LLM better at what it had not seen of them."""
    better = [one for one in table.learned if one.gain.settled > 0]
    count = f"{len(better)} of {len(table.learned)} texts"
    if not better:
        return f"it is better on {count}"
    least = min(better, key=lambda one: one.gain.mean)
    return f"it is better on {count}, least on *{least.text}*, by {estimated(least.gain)} nat"


def estimated(one: Estimate) -> str:
    """A mean with its interval."""
    return f"{one.mean:.3f} ({one.low:.3f} to {one.high:.3f})"


def _named(one: Penalised) -> str:
    return f"most with {one.uplink_bits} bits up and {one.downlink_bits} down at cut {one.cut}, by"
