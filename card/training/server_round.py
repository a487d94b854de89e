"""The edge server's part in one round: adapters down, mini-batches, adapters up."""

from __future__ import annotations

import time

import torch

from card.training.actuation import Work
from card.training.agreement import Job
from card.training.deciding import Plan
from card.training.journal import Report
from card.training.llm.split import optimiser, step
from card.training.terms import Terms
from card.training.trust import check_trained
from card.training.wire.round_messages import Exchange
from card.training.wire.stream import Stream
from card.training.wire.tensors import WireError
from card.training.wire.wire_pb2 import Assignment, Tensors


class ServerRound:
    """The server's part in one round."""

    def __init__(
        self, job: Job, terms: Terms, plan: Plan, stream: Stream, report: Report, work: Work
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
        if gradient is None:
            exchange.tell(loss)
        else:
            exchange.send(Tensors.GRADIENT, {"hidden": gradient}, loss)
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
