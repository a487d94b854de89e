"""The edge server's end of split fine-tuning: devices take turns, and a policy decides each round.

A round that fails changes nothing: the adapters of the last completed round come back, and the next
device has its turn. Every completed round is a checkpoint, from which a killed server goes on.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import grpc

from card.base.errors import ScenarioError
from card.policies import named
from card.training import checkpoint
from card.training.actuation import PLAIN, Machine
from card.training.agreement import Job
from card.training.deciding import Plan, decide, traced
from card.training.journal import Report
from card.training.llm.split import SplitError
from card.training.roster import Roster
from card.training.server_round import ServerRound
from card.training.terms import Terms
from card.training.trust import Conduct, DivergedError, PeerDivergedError, check_own, spoken
from card.training.wire.limits import FRAME_SLACK_BYTES, Limits
from card.training.wire.link_probe import measure_link
from card.training.wire.stream import PeerGone, PeerStalled, Stream, one_line
from card.training.wire.tensors import WireError
from card.training.wire.transport import listen
from card.training.wire.wire_pb2 import Hello, Welcome

_STRANGERS = 64
"""Places beside those of the scenario's devices, for calls that have not said who they are."""

_PAUSE_S = 1.0


class DevicesMissingError(Exception):
    """No device connected in time; the run can go on from its last checkpoint."""


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
        (self._policy,) = named([terms.policy]).items()
        self._roster = Roster([device.name for device in job.scenario.devices])
        self._identity = {
            "scenario": job.scenario_hash,
            "llm": job.llm_fingerprint,
            "tokenizer": job.tokenizer_hash,
            "learning rate": terms.learning_rate,
            "policy": [self._policy[0], getattr(self._policy[1], "source", "")],
            "list of cuts": list(terms.cuts),
            "source of link rates": terms.rates,
        }
        self._done = 0
        devices = len(job.scenario.devices)
        if terms.wait_for > devices:
            raise ScenarioError(
                f"wait-for = {terms.wait_for} is not allowed, for the scenario has"
                f" {devices} devices; give 1 to {devices}."
            )
        if terms.rates == "trace":
            traced(job.scenario, 1, job.scenario.devices[0].name)  # refused now, not in a round
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
            If it is of another scenario, LLM, tokenizer, learning rate, policy, list of cuts or
            source of link rates.
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
                outcome = ServerRound(
                    self._job, self._terms, plan, stream, self._report, work
                ).play()
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

    def _decide(self, device: str, stream: Stream) -> Plan:
        number, terms = self._done + 1, self._terms
        if terms.rates == "trace":
            rates = traced(self._job.scenario, number, device)
        else:
            rates = measure_link(stream, terms.timeout_s)
        return decide(self._job, self._policy, terms.cuts, number, device, rates)

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
