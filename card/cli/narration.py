"""What `card serve` and `card join` tell of a run while it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.markup import escape

from card.base.letters import printable
from card.base.terminals import beside
from card.base.units import counted

Line = Callable[[str, Mapping[str, Any]], str | None]
"""What to print of an event, if anything."""


@contextmanager
def narrator(line: Line) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
    """Tell a run on stderr: plain lines, and on a terminal below them the mini-batch at hand."""
    console = beside(highlight=False, soft_wrap=True)
    with console.status("waiting") if console.is_terminal else nullcontext() as status:

        def narrate(event: str, fields: Mapping[str, Any]) -> None:
            said = printable(line(event, fields) or "")
            if said and event != "iteration":
                console.print(said, markup=False)
            elif said and status:
                status.update(escape(said))

        yield narrate


def server_line(event: str, of: Mapping[str, Any]) -> str | None:
    """What the server says of an event."""
    match event:
        case "machine":
            return f"{_CLOCKS[of['actuate']]}; {_metered(of)}"
        case "listening":
            after = f", going on after round {of['round']}" if of["round"] else ""
            return f"listening on {of['address']}{after}"
        case "metrics":
            return f"metrics are at {of['url']}"
        case "computing":
            return str(of["how"])
        case "joined":
            return f"{of['device']} joined"
        case "refused":
            return f"{of['device']} was turned away: {of['reason']}"
        case "planned":
            return (
                f"round {of['round']}: {of['device']}, cut {of['cut']}, "
                f"server at {of['frequency_hz'] / 1e9:.2f} GHz "
                f"(up {of['uplink_bps'] / 1e6:.1f}, down {of['downlink_bps'] / 1e6:.1f} Mbit/s)"
            )
        case "iteration":
            return (
                f"round {of['round']}: {of['device']}, cut {of['cut']}, "
                f"{of['frequency_hz'] / 1e9:.2f} GHz, mini-batch {of['iteration']}, "
                f"loss {of['loss']:.3f}, {of['elapsed_s']:.1f} s so far"
            )
        case "round":
            return (
                f"round {of['round']}: {_losses(of)}, {of['delay_s']:.2f} s "
                f"(predicted {of['predicted_delay_s']:.2f} s), "
                f"{of['up_bit'] / 8e6:.2f} MB up, {of['down_bit'] / 8e6:.2f} MB down"
                f"{_joules(of)}"
            )
        case "lost":
            return f"round {of['round']} of {of['device']} is lost: {of['reason']}"
        case "unsaved":
            return f"round {of['round']} waits in memory: {of['reason']}"
        case "unwritten":
            return f"what happens waits in memory: metrics.jsonl cannot be written ({of['reason']})"
        case "damaged":
            return f"damaged lines of metrics.jsonl were moved beside it: {of['lines']}"
        case "set_aside":
            return f"{of['device']} is {of['reason']}"
        case "finished":
            said = f"finished after {counted(of['rounds'], 'round')}"
            for key, what in {
                "without_turn": "had no turn",
                "turned_away": "found no place",
            }.items():
                more = f" and {len(of[key]) - 10} more" if len(of[key]) > 10 else ""
                said += f"; {', '.join(of[key][:10])}{more} {what}" if of[key] else ""
            return said
    return None


_CLOCKS = {
    "none": "clocks are decided and noted, not set",
    "pace": "computing is paced to the clock of each round",
    "clock": "the GPU's clock is locked for each round, and released after it",
}


def _metered(machine: Mapping[str, Any]) -> str:
    counted = "counted by" if machine["metered"] else "not counted:"
    return f"energy is {counted} {machine['energy']}"


def _joules(of: Mapping[str, Any]) -> str:
    busy_j, waiting_j = of["server_busy_j"], of["server_waiting_j"]
    if busy_j is None:
        return ""
    return f", {busy_j + waiting_j:.1f} J (predicted {of['predicted_energy_j']:.1f} J)"


def device_line(event: str, of: Mapping[str, Any]) -> str | None:
    """What a device says of an event."""
    match event:
        case "machine":
            return _metered(of)
        case "computing":
            return str(of["how"])
        case "joined":
            return f"joined as {of['device']}"
        case "assigned":
            batches = counted(of["iterations"], "mini-batch")
            return f"round {of['round']}: cut {of['cut']}, {batches}"
        case "iteration":
            return f"round {of['round']}: mini-batch {of['iteration']}, loss {of['loss']:.3f}"
        case "round":
            return f"round {of['round']}: done, {_losses(of)}"
        case "lost":
            return f"connection lost: {of['reason']}; trying again"
        case "finished":
            return f"finished: {of['reason']}"
    return None


def _losses(of: Mapping[str, Any]) -> str:
    """Loss of a round's mini-batches, and on held-out text if there is some."""
    unseen = of.get("validation_loss")
    held_out = "" if unseen is None else f" ({unseen:.3f} on held-out text)"
    return f"loss {of['loss']:.3f}{held_out}"
