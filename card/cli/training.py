"""Commands that fine-tune for real: an edge server, its devices, and their certificates."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import Field
from rich.markup import escape

from card.base.errors import ScenarioError, extra, needs
from card.base.letters import printable
from card.base.schema import Count, Natural, NotNegative
from card.base.terminals import beside, tell
from card.base.units import counted
from card.cli.options import (
    Cut,
    Name,
    Place,
    Seconds,
    Settings,
    Text,
    option,
    reader,
    scenario_files,
)
from card.cli.terminal import load, progress, refusals

app = typer.Typer()

Days = Annotated[Count, Field(le=36_500)]
Port = Annotated[Natural, Field(le=65_535)]
Step = Annotated[NotNegative, Field(le=1)]
Silence = Annotated[Seconds, Field(ge=0.1)]

Compute = Literal["cpu", "cuda"]
Actuate = Literal["none", "pace", "clock"]
Rates = Literal["measured", "trace"]

Address = Annotated[str, option(Text, metavar="HOST:PORT", help="Where the server listens.")]
Certificates = Annotated[
    Path | None,
    option(Place, "--certs", help="Folder of `card certs`; needed beyond this machine."),
]
Weights = Annotated[
    Path | None,
    option(Place, help="Folder of pre-trained weights, as transformers saves them."),
]
Patience = Annotated[float, option(Seconds, help="Longest wait for the other end, in s.")]
Threads = Annotated[
    int | None,
    option(
        Count,
        min=None,
        max=None,
        help="Processor threads, at most its cores; torch's choice when not given.",
    ),
]


Attention = Literal["eager", "sdpa"]
Attends = Annotated[
    Attention, option(Attention, help="Plain attention, or torch's fused; the same at every end.")
]
Computes = Annotated[Compute, option(Compute, help="Processor that computes.")]


@app.command()
def certs(
    folder: Annotated[Path, typer.Argument(parser=reader(Place), help="Folder to make.")],
    scenario: Annotated[
        str,
        option(
            Text,
            "--scenario",
            help="Scenario whose devices get a certificate.",
            autocompletion=scenario_files,
        ),
    ] = "test-bed",
    server: Annotated[
        list[str] | None,
        option(Text, "--server", metavar="HOST", help="Name or address devices reach it by."),
    ] = None,
    days: Annotated[int, option(Days, help="Days until they expire.")] = 30,
) -> None:
    """Make certificates for a test bed: its own authority, the server's, one per device."""
    with refusals(), _lab():
        from card.training.wire.certificates import make_certificates

        devices = [device.name for device in load(scenario, None).devices]
        hosts = server or ["localhost", "127.0.0.1"]
        make_certificates(folder, server_names=hosts, devices=devices, days=days)
    progress(f"certificates for {', '.join(hosts)} and {', '.join(devices)} are in {folder}")


@app.command()
def serve(
    scenario: Name = "test-bed",
    address: Address = "127.0.0.1:7070",
    rounds: Annotated[int, option(Count, help="Rounds in all.")] = 10,
    folder: Annotated[
        Path, option(Place, help="Where checkpoints and metrics go; a run that is there goes on.")
    ] = Path("card-run"),
    resume: Annotated[
        str | None, option(Text, metavar="NAME", help="Checkpoint in the folder to go on from.")
    ] = None,
    certificates: Certificates = None,
    weights: Weights = None,
    cut: Annotated[
        list[int] | None,
        option(
            Cut,
            metavar="INT",
            help="Cut in place of the policy's; given repeatedly, each round takes the next.",
        ),
    ] = None,
    policy: Annotated[
        str, option(Text, metavar="NAME", help="What decides; your own as FILE.py:FUNCTION.")
    ] = "card",
    rates: Annotated[
        Rates,
        option(Rates, help="Link rates to decide by: probed before each round, or the trace's."),
    ] = "measured",
    learning_rate: Annotated[float, option(Step, help="Step size of AdamW.")] = 1e-3,
    wait_for: Annotated[int, option(Count, help="Devices to wait for before the first round.")] = 1,
    timeout: Annotated[
        float, option(Silence, help="Longest silence of a device in its round, in s.")
    ] = 60.0,
    patience: Patience = 600.0,
    threads: Threads = None,
    compute: Computes = "cpu",
    attention: Attends = "eager",
    actuate: Annotated[
        Actuate,
        option(Actuate, help="The server's clock: note it, pace computing by it, or lock it."),
    ] = "none",
    metrics_port: Annotated[
        int | None,
        option(Port, help="Port on this machine where Prometheus collects metrics; 0 is any free."),
    ] = None,
    settings: Settings = None,
) -> None:
    """Fine-tune a scenario's LLM with the devices that join; CARD, or a policy, decides."""
    with refusals(), _lab(threads), ExitStack() as stack:
        chosen = load(scenario, settings)
        if metrics_port is not None:
            needs("metrics", "--metrics-port", "prometheus_client")

        from card.training.run_folder import claimed
        from card.training.wire.certificates import server_credentials

        credentials = server_credentials(certificates) if certificates else None
        with claimed(folder):
            from card.training import checkpoint  # for seconds, which a refusal need not wait
            from card.training.actuation import Machine, actuator, check_compute
            from card.training.agreement import Job
            from card.training.energy import Sensor
            from card.training.journal import Journal, Report, read_journal
            from card.training.llm.computing import compute_fast
            from card.training.parts import part_of_server
            from card.training.server import DevicesMissingError, Server
            from card.training.terms import Terms
            from card.training.trust import DivergedError

            check_compute(compute)
            cuts = tuple(cut or ())
            terms = Terms(rounds, learning_rate, timeout, patience, wait_for, cuts, policy, rates)
            try:
                found = checkpoint.read(folder / resume) if resume else checkpoint.latest(folder)
            except checkpoint.CheckpointError as error:
                raise ScenarioError(str(error)) from None
            done = found.round if found else 0
            job = Job.open(chosen, weights, compute, attention, part_of_server(chosen))
            carry_out = actuator(actuate, compute, job.system.frequency_max_hz)
            machine = Machine(compute, carry_out, Sensor.of(compute))
            with _narrator(_server_line) as narrate:
                hearers: list[Report] = [narrate]

                def report(event: str, fields: Mapping[str, Any]) -> None:
                    unwritten = journal.write(event, fields)
                    for hear in hearers:
                        hear(event, fields)
                    if unwritten:
                        narrate("unwritten", {"reason": unwritten})

                server = Server(job, terms, folder, report, machine)
                if found:
                    server.resume(found)
                if said := compute_fast(job.llm):
                    narrate("computing", {"how": said})
                with Journal(folder / "metrics.jsonl", done) as journal:
                    if journal.damaged:
                        narrate("damaged", {"lines": journal.damaged})
                    if metrics_port is not None:
                        from card.training.metrics import published

                        names = [device.name for device in chosen.devices]
                        so_far = read_journal(folder / "metrics.jsonl")
                        url, note = stack.enter_context(published(metrics_port, names, so_far))
                        hearers.append(note)
                        narrate("metrics", {"url": url})
                    try:
                        report("machine", {"actuate": actuate, **machine.told()})
                        server.run(address, credentials)
                    except (
                        DevicesMissingError,
                        DivergedError,
                        checkpoint.CheckpointError,
                    ) as error:
                        raise _failure(error) from None
            job.llm.save(folder / "adapters")
    tell(folder / "adapters")


@app.command()
def join(
    device: Annotated[str, option(Text, help="Name of this device in the scenario.")],
    data: Annotated[Path, option(Place, help="Text file to fine-tune on; it stays here.")],
    scenario: Name = "test-bed",
    address: Address = "127.0.0.1:7070",
    certificates: Certificates = None,
    weights: Weights = None,
    patience: Patience = 600.0,
    threads: Threads = None,
    compute: Computes = "cpu",
    attention: Attends = "eager",
    settings: Settings = None,
) -> None:
    """Take part in a server's fine-tuning as one device, with data that stays here."""
    with refusals(), _lab(threads):
        chosen = load(scenario, settings)
        chosen.device_index(device)

        # for seconds, which a refusal need not wait
        from card.training.actuation import Machine, check_compute
        from card.training.agreement import Job
        from card.training.device import Device, ServerMissingError
        from card.training.energy import Sensor
        from card.training.llm.computing import compute_fast
        from card.training.llm.text import held_out, read_tokens
        from card.training.parts import part_of_device
        from card.training.trust import DivergedError
        from card.training.wire.certificates import device_credentials

        credentials = device_credentials(certificates, device) if certificates else None
        check_compute(compute)
        own = part_of_device(chosen, device)
        job = Job.open(chosen, weights, compute, attention, own)
        machine = Machine(compute, sensor=Sensor.of(compute))
        length = chosen.training.sequence_length
        tokens, unseen = held_out(read_tokens(data, job.tokenizer, least=length), length)
        with _narrator(_device_line) as narrate:
            narrate("machine", machine.told())
            end = Device(job, device, tokens, narrate, machine, unseen)
            try:
                if said := compute_fast(job.llm):
                    narrate("computing", {"how": said})
                end.run(address, credentials, patience_s=patience)
            except (ServerMissingError, DivergedError) as error:
                raise _failure(error) from None


@contextmanager
def _lab(threads: int | None = None) -> Iterator[None]:
    """Where the `lab` extra is needed."""
    with extra("lab", "this command"):
        if threads:
            cores = os.cpu_count() or 1
            if threads > cores:
                raise ScenarioError(
                    f"--threads = {threads} is not allowed; give 1 to {cores}, the processor's "
                    f"cores."
                )
            import torch

            torch.set_num_threads(threads)
        yield


def _failure(error: Exception) -> typer.Exit:
    tell(*f"Error: {error}".split("\n"), err=True)
    return typer.Exit(1)


Line = Callable[[str, Mapping[str, Any]], str | None]
"""What to print of an event, if anything."""


@contextmanager
def _narrator(line: Line) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
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


def _server_line(event: str, of: Mapping[str, Any]) -> str | None:
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


def _device_line(event: str, of: Mapping[str, Any]) -> str | None:
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
