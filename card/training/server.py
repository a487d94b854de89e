"""The edge server's end of split fine-tuning: devices take turns, and a policy decides each round.

A round that fails changes nothing: the adapters of the last completed round come back, and the next
device has its turn. Every completed round is a checkpoint, from which a killed server goes on.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import numpy as np
import torch

from card.base.errors import LARGEST_COUNT, ScenarioError
from card.costs import evaluate
from card.llm.cuts import CutProfile
from card.policies import Draws, check_decision, named
from card.simulation import decided
from card.training import checkpoint
from card.training.actuation import PLAIN, Machine, Work
from card.training.agreement import Job
from card.training.journal import Report
from card.training.llm.split import SplitError, optimiser, step
from card.training.roster import Roster
from card.training.trust import (
    LARGEST_STEP,
    Conduct,
    DivergedError,
    PeerDivergedError,
    check_own,
    check_trained,
    spoken,
)
from card.training.wire.limits import FRAME_SLACK_BYTES, Limits
from card.training.wire.link_probe import measure_link
from card.training.wire.round_messages import Exchange
from card.training.wire.stream import PeerGone, PeerStalled, Stream, one_line
from card.training.wire.tensors import WireError
from card.training.wire.transport import listen
from card.training.wire.wire_pb2 import Assignment, Hello, Tensors, Welcome

_STRANGERS = 64
"""Places beside those of the scenario's devices, for calls that have not said who they are."""

_PAUSE_S = 1.0


@dataclass(frozen=True)
class Terms:
    """How long a run is, and what it puts up with."""

    rounds: int
    """Rounds in all; a round is one device's turn."""
    learning_rate: float
    """Step size of AdamW, whose moments start anew in every round."""
    timeout_s: float = 60.0
    """Longest silence of a device within its round [s]."""
    patience_s: float = 600.0
    """Longest wait for a device to connect [s]."""
    wait_for: int = 1
    """Devices that must be connected before the first round."""
    cuts: tuple[int, ...] = ()
    """Cuts to go through, round by round, in place of the policy's; none lets it decide."""
    policy: str = "card"
    """Policy that decides, by its name or that of a function in a file of one's own."""

    def __post_init__(self) -> None:
        """Refuse what nothing can be trained or waited by.

        Raises
        ------
        ScenarioError
            If a value is out of its range.
        """
        for name, low, high in (
            ("rounds", 1, LARGEST_COUNT),
            ("learning_rate", 0, LARGEST_STEP),
            ("timeout_s", 0.1, LARGEST_COUNT),
            ("patience_s", 0, LARGEST_COUNT),
        ):
            value = getattr(self, name)
            if not low <= value <= high:  # nor is a NaN
                raise ScenarioError(f"{name} = {value} is not allowed; give {low} to {high}.")


class DevicesMissingError(Exception):
    """No device connected in time; the run can go on from its last checkpoint."""


@dataclass(frozen=True)
class _Plan:
    """What is decided for one round."""

    round: int
    device: str
    cut: int
    uplink_bits: int
    downlink_bits: int
    frequency_hz: float
    predicted_delay_s: float
    predicted_energy_j: float
    predicted_device_energy_j: float
    stretch: float
    uplink_bps: float
    downlink_bps: float
    round_trip_s: float


class Server:
    """One run of split fine-tuning.

    Parameters
    ----------
    job
        LLM and scenario.
    terms
        Length and limits of the run.
    folder
        Where checkpoints are kept; a run that is there goes on.
    report
        Called with `joined`, `refused`, `planned`, `iteration`, `round`, `lost` or `finished`, and
        what there is to say.
    machine
        Where the server computes, what carries out its clock, and what counts its energy.

    Raises
    ------
    ScenarioError
        If the cut is not one of the LLM's, the policy is refused, or the folder holds another run.
    """

    def __init__(
        self,
        job: Job,
        terms: Terms,
        folder: Path,
        report: Report,
        machine: Machine = PLAIN,
    ) -> None:
        self._job, self._terms, self._folder, self._report = job, terms, folder, report
        self._machine = machine
        ((self._policy_name, self._policy),) = named([terms.policy]).items()
        self._roster = Roster([device.name for device in job.scenario.devices])
        self._identity = {
            "scenario": job.scenario_hash,
            "llm": job.llm_fingerprint,
            "tokenizer": job.tokenizer_hash,
            "learning rate": terms.learning_rate,
            "policy": [self._policy_name, getattr(self._policy, "source", "")],
            "list of cuts": list(terms.cuts),
        }
        self._done = 0
        devices = len(job.scenario.devices)
        if terms.wait_for > devices:
            raise ScenarioError(
                f"wait-for = {terms.wait_for} is not allowed, for the scenario has"
                f" {devices} devices; give 1 to {devices}."
            )
        self._conduct = Conduct()
        self._saved: Path | None = None
        self._unsaved: checkpoint.CheckpointError | None = None
        allowed = sorted(set(job.system.profile.cut[job.system.feasible.all(axis=0)].tolist()))
        for cut in terms.cuts:
            if cut not in allowed:
                raise ScenarioError(
                    f"cut = {cut} is not allowed; give one that fits all devices, of "
                    f"{', '.join(map(str, allowed))}."
                )

    def resume(self, found: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        ScenarioError
            If it is of another scenario, LLM or tokenizer, or of another learning rate, policy or
            list of cuts.
        """
        for what, own in self._identity.items():
            if found.state.get(what) != own:
                raise ScenarioError(
                    f"{self._folder} holds a run of another {what}; choose another folder."
                )
        self._job.llm.load_adapters(found.adapters)
        self._done = found.round
        self._roster.resume(found.state["served"])
        self._saved = found.path

    def run(self, address: str, credentials: grpc.ServerCredentials | None) -> None:
        """Serve devices until all rounds are completed.

        Raises
        ------
        ScenarioError
            If the address cannot be listened on.
        DevicesMissingError
            If no device connects for longer than the terms allow.
        DivergedError
            If training diverged; all devices are told so.
        CheckpointError
            If the last rounds could not be written for as long, and are lost with this process.
        """
        limits = Limits(self._job.largest_frame_bytes)
        places = len(self._job.scenario.devices) + _STRANGERS
        with listen(address, credentials, limits, self._welcome, places) as listener:
            self._report("listening", {"address": listener.address, "round": self._done})
            at_least, patience_s = self._terms.wait_for, self._terms.patience_s
            while self._done < self._terms.rounds:
                turn = self._roster.next(patience_s=patience_s, at_least=at_least)
                if turn is None:
                    raise DevicesMissingError(self._missing(at_least))
                at_least = 1
                try:
                    self._turn(*turn)
                except DivergedError as error:
                    self._report("diverged", {"round": self._done + 1, "reason": str(error)})
                    self._roster.turn_away(f"training diverged: {str(error).partition(';')[0]}")
                    raise
            self._save_at_last()
            self._report(
                "finished",
                {
                    "rounds": self._done,
                    "without_turn": self._roster.without_turn,
                    "turned_away": sorted(listener.door.turned_away),
                },
            )
            self._roster.dismiss("all rounds are completed")

    def _missing(self, wanted: int) -> str:
        connected, patience_s = self._roster.connected, self._terms.patience_s
        found = f"no device connected for {patience_s:g} s"
        if wanted > 1:
            found = f"{connected} of the {wanted} devices to wait for connected in {patience_s:g} s"
        return (
            f"{found}; start {'one' if wanted == 1 else 'more'} with card join, and card serve"
            f" again: it goes on after round {self._done}."
        )

    async def _welcome(self, stream: Stream, peer_name: str | None) -> None:
        """Runs on the event loop for each connection, as long as it lasts."""
        hello = await stream.hear("hello", timeout_s=self._terms.timeout_s)
        name = hello.device
        reason = self._objection(hello, peer_name)
        if not reason and not await self._roster.vacant(name):
            reason = f"another device that says it is {name} is connected, and alive"
        if reason:
            with suppress(OSError):
                self._report("refused", {"device": spoken(name), "reason": one_line(reason)})
            raise WireError(reason)
        await stream.say(Welcome(timeout_s=self._terms.timeout_s))
        with suppress(OSError):  # the main thread meets a full disk at its next word, and ends
            self._report("joined", {"device": name})
        self._roster.enter(name, stream)
        try:
            await stream.ended()
        finally:
            self._roster.leave(name, stream)

    def _objection(self, hello: Hello, peer_name: str | None) -> str | None:
        """Why a device cannot take part, in words that are as short as a line."""
        if hello.ByteSize() > FRAME_SLACK_BYTES:
            return f"a hello of {hello.ByteSize()} bytes is more than {FRAME_SLACK_BYTES}"
        if peer_name not in (None, hello.device):
            return f"the certificate is that of {peer_name}, not of {spoken(hello.device)}"
        return self._job.objection(hello) or self._conduct.aside(hello.device)

    def _turn(self, device: str, stream: Stream) -> None:
        """One round of one device, or nothing at all."""
        before = self._job.llm.adapters(0, self._job.llm.num_blocks)
        before = {name: tensor.clone() for name, tensor in before.items()}
        try:
            plan = self._decide(device, stream)
            self._report("planned", asdict(plan))
            with self._machine.round(plan.frequency_hz, plan.stretch) as work:
                outcome = _Round(self._job, self._terms, plan, stream, self._report, work).play()
            check_own(self._job.llm.adapters(0, self._job.llm.num_blocks))
        except (WireError, SplitError) as error:
            self._job.llm.load_adapters(before)
            self._lose(device, stream, error)
            return
        except DivergedError as error:
            self._job.llm.load_adapters(before)
            where = f"in round {plan.round} with {device}, cut {plan.cut}"
            raise self._diverged(f"{error} {where}") from None
        self._report("round", {**asdict(plan), **outcome})
        self._done = plan.round
        if unsaved := self._save():
            self._report("unsaved", {"round": self._done, "reason": str(unsaved)})
        self._unsaved = unsaved

    def _save(self) -> checkpoint.CheckpointError | None:
        """Keep the last completed round; why that cannot be, then it waits in memory."""
        state = {"served": self._roster.served, **self._identity}
        adapters = self._job.llm.adapters(0, self._job.llm.num_blocks)
        try:
            self._saved = checkpoint.save(self._folder, self._done, adapters, state)
        except checkpoint.CheckpointError as error:
            return error
        self._report("saved", {"round": self._done, "path": str(self._saved)})
        return None

    def _save_at_last(self) -> None:
        """Wait until the last round is kept, as long as for a device."""
        deadline = time.monotonic() + self._terms.patience_s
        while self._unsaved:
            if time.monotonic() > deadline:
                raise self._unsaved
            time.sleep(_PAUSE_S)
            self._unsaved = self._save()

    def _lose(self, device: str, stream: Stream, error: Exception) -> None:
        """What a round that failed means for its device."""
        self._roster.leave(device, stream)
        if isinstance(error, PeerGone | PeerStalled):
            stream.close()
        else:
            stream.refuse(str(error))
        self._report("lost", {"round": self._done + 1, "device": device, "reason": str(error)})
        if aside := self._conduct.note(device, error):
            self._report("set_aside", {"device": device, "reason": aside})
        if isinstance(error, PeerDivergedError) and not self._roster.connected:
            raise self._diverged(f"{error} in round {self._done + 1}, and no other device is there")

    def _diverged(self, what: str) -> DivergedError:
        kept = f"{self._saved or 'none was reached'}"
        return DivergedError(
            f"{what}; nothing of that round is kept. The last good checkpoint: {kept}. Start anew "
            f"with a --learning-rate below {self._terms.learning_rate:g}."
        )

    def _decide(self, device: str, stream: Stream) -> _Plan:
        rates = measure_link(stream, self._terms.timeout_s)
        arrays = self._job.system
        index = arrays.device_names.index(device)
        up, down = rates.uplink_bps, rates.downlink_bps
        draws = Draws.of(arrays, np.array([index]), np.array([up]), np.array([down]))
        seed = self._job.scenario.simulation.seed + self._done
        (own,), (clock,), _ = decided(arrays, draws, self._policy_name, self._policy, seed)
        option = self._option(index, int(own))
        check_decision(arrays, index, option, clock)
        costs = evaluate(arrays, index, option, clock, up, down)
        fastest = evaluate(arrays, index, option, arrays.frequency_max_hz, up, down)
        shortest_s = float(fastest.server_compute_s)
        cut, uplink_bits, downlink_bits = _chosen(arrays.profile, option)
        return _Plan(
            round=self._done + 1,
            device=device,
            cut=cut,
            uplink_bits=uplink_bits,
            downlink_bits=downlink_bits,
            frequency_hz=float(clock),
            predicted_delay_s=float(costs.delay_s),
            predicted_energy_j=float(costs.energy_j),
            predicted_device_energy_j=float(costs.device_energy_j),
            stretch=float(costs.server_compute_s) / shortest_s if shortest_s else 1.0,
            uplink_bps=up,
            downlink_bps=down,
            round_trip_s=rates.round_trip_s,
        )

    def _option(self, device: int, own: int) -> int:
        """The policy's option, or the one at the run's cut; with the policy's bits if they fit."""
        profile, cuts = self._job.system.profile, self._terms.cuts
        if not cuts:
            return own
        at_cut = profile.cut == cuts[self._done % len(cuts)]
        fit = np.flatnonzero(at_cut & self._job.system.feasible[device]).tolist()
        own_bits = _chosen(profile, own)[1:]
        return min(fit, key=lambda option: _chosen(profile, option)[1:] != own_bits)


def _chosen(profile: CutProfile, option: int) -> tuple[int, int, int]:
    """Cut, bits up and bits down of an option."""
    columns = profile.cut, profile.uplink_bits, profile.downlink_bits
    cut, up, down = (int(column[option]) for column in columns)
    return cut, up, down


class _Round:
    """The server's part in one round."""

    def __init__(
        self, job: Job, terms: Terms, plan: _Plan, stream: Stream, report: Report, work: Work
    ) -> None:
        self._job, self._terms, self._plan = job, terms, plan
        self._stream, self._report, self._work = stream, report, work
        forms = job.forms(plan.uplink_bits, plan.downlink_bits)
        self._exchange = Exchange(stream, plan.round, terms.timeout_s, forms, work.computing)
        self._side = job.server_side(plan.cut)
        trained = job.llm.trained(plan.cut, job.llm.num_blocks)
        self._optimiser = optimiser(trained, terms.learning_rate)
        self._optimiser.zero_grad()  # a lost round may have left some
        self._start_s = time.perf_counter()

    def play(self) -> dict[str, float | None]:
        """Adapters down, mini-batches, adapters up; returns what was measured."""
        job, cut, exchange = self._job, self._plan.cut, self._exchange
        iterations = job.scenario.training.local_iterations
        before = _traffic(self._stream)
        self._stream.send(
            Assignment(
                round=self._plan.round,
                cut=cut,
                frequency_hz=self._plan.frequency_hz,
                iterations=iterations,
                learning_rate=self._terms.learning_rate,
                seed=job.scenario.simulation.seed,
                uplink_bits=self._plan.uplink_bits,
                downlink_bits=self._plan.downlink_bits,
            )
        )
        if cut:
            exchange.send(Tensors.ADAPTERS, job.llm.adapters(0, cut))
        losses = [self._mini_batch(iteration) for iteration in range(1, iterations + 1)]
        if cut:
            trained = exchange.receive(Tensors.ADAPTERS, job.adapters(cut))
            rate = self._terms.learning_rate
            check_trained(job.llm.adapters(0, cut), trained, rate, iterations)
            job.llm.load_adapters(trained)
        outcome: dict[str, float | None] = {
            "loss": sum(losses) / iterations,
            "delay_s": time.perf_counter() - self._start_s,
            "device_compute_s": exchange.peer_compute_s,
            "server_compute_s": exchange.compute_s,
            **self._work.noted(),
            **dict(zip(("device_busy_j", "device_waiting_j"), exchange.spent(), strict=True)),
            **{name: after - before[name] for name, after in _traffic(self._stream).items()},
        }
        exchange.iteration += 1
        return {**outcome, "validation_loss": self._validated()}

    def _validated(self) -> float | None:
        """Loss on what the device holds out of training; counts neither as delay nor as traffic.

        None where it holds nothing out, or leaves before: the round is completed all the same.
        """
        exchange, job = self._exchange, self._job
        try:
            if not exchange.announced():
                return None
            if self._plan.cut == job.llm.num_blocks:
                return exchange.told()
            arrived = exchange.receive(Tensors.SMASHED, job.smashed)
            if job.scenario.training.topology == "vanilla":
                loss = self._side.judge(arrived)
                exchange.tell(loss)
                return loss
            with torch.no_grad():
                final = self._side.forward(arrived)
            exchange.send(Tensors.HIDDEN, {"hidden": final})
            return exchange.told()
        except WireError:
            return None

    def _mini_batch(self, iteration: int) -> float:
        """Train one mini-batch; its loss. Whoever computes the loss tells it first."""
        exchange, job, cut = self._exchange, self._job, self._plan.cut
        exchange.iteration = iteration
        if cut == job.llm.num_blocks:
            loss = exchange.told()
        elif job.scenario.training.topology == "vanilla":
            loss = self._train_to_the_loss()
        else:
            loss = self._train_without_labels()
        self._report(
            "iteration",
            {
                "round": self._plan.round,
                "device": self._plan.device,
                "cut": cut,
                "frequency_hz": self._plan.frequency_hz,
                "iteration": iteration,
                "loss": loss,
                "elapsed_s": time.perf_counter() - self._start_s,
            },
        )
        return loss

    def _train_to_the_loss(self) -> float:
        """With labels: forward, loss and backward in one go."""
        exchange, job = self._exchange, self._job
        arrived = exchange.receive(Tensors.SMASHED, job.smashed)
        with exchange.computing():
            loss, gradient = self._side.train(arrived)
            step(self._optimiser)
        exchange.tell(loss)
        if gradient is not None:
            exchange.send(Tensors.GRADIENT, {"hidden": gradient})
        return loss

    def _train_without_labels(self) -> float:
        """The loss is the device's: final hidden states down, their gradients up."""
        exchange, job = self._exchange, self._job
        arrived = exchange.receive(Tensors.SMASHED, job.smashed)
        with exchange.computing():
            final = self._side.forward(arrived)
        exchange.send(Tensors.HIDDEN, {"hidden": final})
        loss = exchange.told()
        arrived = exchange.receive(Tensors.HIDDEN_GRADIENT, job.activations)
        with exchange.computing():
            gradient = self._side.backward(arrived["hidden"])
            step(self._optimiser)
        if gradient is not None:
            exchange.send(Tensors.GRADIENT, {"hidden": gradient})
        return loss


def _traffic(stream: Stream) -> dict[str, int]:
    """What has crossed so far [bit]: tensors up and down, and all the rest of the frames."""
    up, down = stream.payload_bytes_received, stream.payload_bytes_sent
    frames = stream.bytes_received + stream.bytes_sent
    return {"up_bit": 8 * up, "down_bit": 8 * down, "framing_bit": 8 * (frames - up - down)}
