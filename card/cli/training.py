"""Commands that fine-tune for real: an edge server, its devices, and their certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import Field

from card.base.errors import ScenarioError, extra, needs
from card.base.schema import Count, Natural, NotNegative
from card.base.terminals import tell
from card.cli.narration import device_line, narrator, server_line
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
            from card.training.wire.transport import check_address

            check_address(address, credentials)
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
            with narrator(server_line) as narrate:
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
        from card.training.wire.transport import check_address

        credentials = device_credentials(certificates, device) if certificates else None
        check_address(address, credentials)
        check_compute(compute)
        own = part_of_device(chosen, device)
        job = Job.open(chosen, weights, compute, attention, own)
        machine = Machine(compute, sensor=Sensor.of(compute))
        length = chosen.training.sequence_length
        tokens, unseen = held_out(read_tokens(data, job.tokenizer, least=length), length)
        with narrator(device_line) as narrate:
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
