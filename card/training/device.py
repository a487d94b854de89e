"""A device's end of split fine-tuning: its data stays here, the server names its blocks.

The device remembers nothing between rounds: adapters come with each round, and the mini-batches of
a round follow from seed, device and round. So it may leave and come back whenever it likes.
"""

from __future__ import annotations

import time
from statistics import fmean

import grpc
import torch
from torch.optim import Optimizer

from card.base.errors import ScenarioError
from card.training.actuation import PLAIN, Machine, Work
from card.training.agreement import Job
from card.training.journal import Report
from card.training.llm.split import Batch, DeviceSide, SplitError, optimiser, step
from card.training.llm.text import Tokens, mini_batch
from card.training.parts import part_of_device
from card.training.trust import (
    BreachError,
    DivergedError,
    PeerDivergedError,
    check_assignment,
    check_silence,
)
from card.training.wire.limits import Limits
from card.training.wire.round_messages import Exchange
from card.training.wire.stream import PeerFinished, PeerGone, PeerRefused, PeerStalled, Stream
from card.training.wire.tensors import WireError
from card.training.wire.transport import connect
from card.training.wire.wire_pb2 import Assignment, Tensors

PAUSE_S = 1.0
"""Time between two attempts to reach the server [s]."""


class ServerMissingError(Exception):
    """The server could not be reached for longer than the device waits."""


class Device:
    """One device.

    Parameters
    ----------
    job
        LLM and scenario, the same as the server's.
    name
        Name of the device in the scenario.
    tokens
        Its data, token ids of shape `(tokens,)`.
    unseen
        Token ids that it holds out of training; each round ends with the loss on a mini-batch of
        them, always the same. None for no such loss.
    report
        Called with `joined`, `assigned`, `received`, `iteration`, `round`, `lost` or `finished`,
        and what there is to say.
    machine
        Where the device computes, and what counts its energy.

    Raises
    ------
    ScenarioError
        If the scenario has no such device.
    """

    def __init__(
        self,
        job: Job,
        name: str,
        tokens: Tokens,
        report: Report,
        machine: Machine = PLAIN,
        unseen: Tokens | None = None,
    ) -> None:
        self._job, self._name, self._tokens, self._report = job, name, tokens, report
        self._machine, self._unseen = machine, unseen
        self._limits = Limits(job.largest_frame_bytes)
        own = part_of_device(job.scenario, name)
        self._deepest = own.last
        job.llm.keep(own.first, own.last, embedding=own.embedding, head=own.head)

    def run(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        *,
        patience_s: float = 600.0,
    ) -> None:
        """Take part until the server ends the run; come back whenever the connection is lost.

        Parameters
        ----------
        address
            The server's, as `host:port`.
        credentials
            This device's; None on a loopback address.
        patience_s
            How long to go on without reaching the server [s].

        Raises
        ------
        ScenarioError
            If the server turns the device away, with its reason, or breaks the agreement itself.
        DivergedError
            If training diverged, as this device or the server sees it.
        ServerMissingError
            If the server is out of reach for too long.
        """
        heard_s = time.monotonic()
        while True:
            try:
                with connect(address, credentials, self._limits) as stream:
                    stream.send(self._job.hello(self._name))
                    timeout_s = stream.receive(
                        "welcome", timeout_s=self._limits.silence_s
                    ).timeout_s
                    check_silence(timeout_s)
                    self._report("joined", {"device": self._name})
                    while True:
                        heard_s = time.monotonic()
                        task = stream.wait_for("assignment", silence_s=patience_s)
                        try:
                            check_assignment(task, self._job.scenario, self._deepest)
                            with self._machine.round(task.frequency_hz, 1.0) as work:
                                self._round(stream, task, timeout_s, work)
                        except (BreachError, SplitError) as error:
                            stream.refuse(str(error))
                            raise
                        except DivergedError as error:
                            stream.refuse(str(error))
                            raise DivergedError(
                                f"training diverged in round {task.round}: {error}."
                            ) from None
            except PeerFinished as end:
                self._report("finished", {"reason": str(end)})
                return
            except PeerRefused as refusal:
                raise ScenarioError(f"the server turned {self._name} away: {refusal}.") from None
            except PeerDivergedError as error:
                raise DivergedError(f"training diverged: {error}.") from None
            except (PeerGone, PeerStalled) as error:
                self._report("lost", {"reason": str(error)})
                if time.monotonic() - heard_s > patience_s:
                    raise ServerMissingError(
                        f"{address} was out of reach for {patience_s:g} s: {error}."
                    ) from None
                time.sleep(PAUSE_S)
            except (WireError, SplitError) as error:
                raise ScenarioError(
                    f"the server at {address} breaks the agreement, so this device leaves: {error}."
                ) from None

    def _round(self, stream: Stream, task: Assignment, timeout_s: float, work: Work) -> None:
        """Adapters down, mini-batches, adapters up."""
        job, cut, training = self._job, task.cut, self._job.scenario.training
        self._report("assigned", {"round": task.round, "cut": cut, "iterations": task.iterations})
        forms = job.forms(task.uplink_bits, task.downlink_bits)
        exchange = Exchange(stream, task.round, timeout_s, forms, work.computing)
        if cut:
            job.llm.load_adapters(exchange.receive(Tensors.ADAPTERS, job.adapters(cut)))
        side = job.device_side(cut)
        update = optimiser(job.llm.trained(0, cut), task.learning_rate)
        update.zero_grad()  # a lost round may have left some
        losses = []
        for exchange.iteration in range(1, task.iterations + 1):
            self._report("iterating", {"round": task.round, "iteration": exchange.iteration})
            key = (task.seed, self._name, task.round, exchange.iteration)
            batch = mini_batch(self._tokens, training.batch_size, training.sequence_length, *key)
            losses.append(self._mini_batch(exchange, side, batch, update))
            self._report(
                "iteration",
                {"round": task.round, "iteration": exchange.iteration, "loss": losses[-1]},
            )
        if cut:
            exchange.send(Tensors.ADAPTERS, job.llm.adapters(0, cut))
        exchange.spend(*work.spent_j())
        told = {"round": task.round, "cut": cut, "loss": fmean(losses)}
        exchange.iteration += 1
        exchange.announce(self._unseen is not None)
        if self._unseen is not None:
            told["validation_loss"] = self._validated(exchange, side, self._unseen)
        self._report("round", told)

    def _validated(self, exchange: Exchange, side: DeviceSide, unseen: Tokens) -> float:
        """Loss on held-out text, of which nothing is learned."""
        job, training = self._job, self._job.scenario.training
        key = (self._name, "held out")
        batch = mini_batch(unseen, training.batch_size, training.sequence_length, *key)
        with torch.no_grad():
            smashed = side.forward(batch)
        if side.cut == job.llm.num_blocks:
            loss = side.judge()
        else:
            exchange.send(Tensors.SMASHED, smashed)
            if training.topology == "vanilla":
                return exchange.told()
            loss = side.judge(exchange.receive(Tensors.HIDDEN, job.activations)["hidden"])
        exchange.tell(loss)
        return loss

    def _mini_batch(
        self, exchange: Exchange, side: DeviceSide, batch: Batch, update: Optimizer
    ) -> float:
        """Train one mini-batch; its loss. Whoever computes the loss tells it first."""
        job, cut = self._job, side.cut
        with exchange.computing():
            smashed = side.forward(batch)
        if cut == job.llm.num_blocks:
            with exchange.computing():
                loss = side.finish()
                step(update)
            exchange.tell(loss)
            return loss
        exchange.send(Tensors.SMASHED, smashed)
        if job.scenario.training.topology == "vanilla":
            loss = exchange.told()
        else:
            final = exchange.receive(Tensors.HIDDEN, job.activations)["hidden"]
            with exchange.computing():
                loss, gradient_up = side.head(final)
            exchange.send(Tensors.HIDDEN_GRADIENT, {"hidden": gradient_up}, loss)
        if cut:
            gradient = exchange.receive(Tensors.GRADIENT, job.activations)["hidden"]
            with exchange.computing():
                side.backward(gradient)
                step(update)
        return loss
