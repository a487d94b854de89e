"""One round's tensors and losses on a stream, checked and timed alike at both ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor

from card.training.trust import (
    DivergedError,
    PeerDivergedError,
    believed_s,
    check_arrived,
    check_own,
)
from card.training.wire.quantised import Form, Forms
from card.training.wire.stream import Stream
from card.training.wire.tensors import TensorSpec, WireError
from card.training.wire.wire_pb2 import Report, Spent, Tensors

_BEATS = 4
"""Signs of life within the longest silence that the other end bears."""

_UP = (Tensors.SMASHED, Tensors.HIDDEN_GRADIENT)
_DOWN = (Tensors.HIDDEN, Tensors.GRADIENT)
_GRADIENTS = (Tensors.GRADIENT, Tensors.HIDDEN_GRADIENT)


class Exchange:
    """One round's part of a conversation.

    Parameters
    ----------
    stream
        Either end of the conversation.
    number
        Round; a message of another one breaks the agreement.
    timeout_s
        Longest wait for a message [s].
    forms
        What hidden states and gradients are written as, either way.
    work
        Context of each span of computing at this end.
    """

    def __init__(
        self,
        stream: Stream,
        number: int,
        timeout_s: float,
        forms: Forms,
        work: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._stream, self._round, self._timeout_s = stream, number, timeout_s
        self._forms, self._work = forms, work
        self.iteration = 0
        """Mini-batch that messages belong to, from 1; 0 before the first."""
        self.compute_s = 0.0
        """Time spent computing at this end [s]."""
        self.peer_compute_s = 0.0
        """Time spent computing at the other end, as it says [s]."""
        self._told_s = 0.0
        self._begun_s = time.monotonic()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Count the time spent inside as computing; the other end sees that it is no silence."""
        start = time.perf_counter()
        with self._stream.working(self._timeout_s / _BEATS), self._work():
            yield
        self.compute_s += time.perf_counter() - start

    def send(
        self, kind: Tensors.Kind, tensors: Mapping[str, Tensor], loss: float | None = None
    ) -> None:
        """Send tensors, one of `Tensors.Kind`, hidden states and gradients in the round's bits.

        To turn numbers into fewer bits counts as computing. A loss of this mini-batch is told
        before them, without a wait of its own.

        Raises
        ------
        DivergedError
            If they are none that the other end would believe, or as `tell` does; else what
            `Stream.send` and `Form.written` raise.
        """
        if loss is not None and not math.isfinite(loss):
            self.tell(loss)
        check_own(tensors)
        form = self._form(kind)
        if form and kind in _GRADIENTS:
            noise = self._forms.noise(self._round, self.iteration, kind)
            with self.computing():
                tensors = form.written(tensors["hidden"], noise, self._forms.gain)
        elif form:
            rest = {name: value for name, value in tensors.items() if name != "hidden"}
            with self.computing():
                tensors = {**form.written(tensors["hidden"]), **rest}
        told = [] if loss is None else [self._loss(loss)]
        untold_s = self._untold_s()
        self._stream.send_tensors(kind, self._round, self.iteration, tensors, untold_s, told)

    def receive(self, kind: Tensors.Kind, expected: Mapping[str, TensorSpec]) -> dict[str, Tensor]:
        """Tensors of the kind and shapes expected, whatever bits they came in.

        Raises
        ------
        WireError
            If the other end is gone or silent, sends anything else, or what is not believed.
        """
        form = self._form(kind)
        rest = {name: spec for name, spec in expected.items() if not form or name != "hidden"}
        crossing = {**(form.specs if form else {}), **rest}
        tensors, peer_s = self._stream.receive_tensors(
            kind, self._round, self.iteration, crossing, self._timeout_s
        )
        self._believe(peer_s)
        if form:
            gain = self._forms.gain if kind in _GRADIENTS else 1.0
            with self.computing():
                hidden = form.read(tensors, gain)
            tensors = {"hidden": hidden, **{name: tensors[name] for name in rest}}
        check_arrived(tensors)
        return tensors

    def tell(self, loss: float) -> None:
        """Tell the other end the loss of this mini-batch.

        Raises
        ------
        DivergedError
            If it is not finite, once that is told; else what `Stream.send` raises.
        """
        self._stream.send(self._loss(loss))
        if not math.isfinite(loss):
            raise DivergedError(f"the loss of mini-batch {self.iteration} is {loss}")

    def _loss(self, loss: float) -> Report:
        untold_s = self._untold_s()
        return Report(round=self._round, iteration=self.iteration, loss=loss, compute_s=untold_s)

    def announce(self, validates: bool) -> None:
        """Say whether one more mini-batch follows, which nothing trained on."""
        self._stream.send(Report(round=self._round, iteration=self.iteration, validates=validates))

    def announced(self) -> bool:
        """Whether the other end sends one more mini-batch; raises what `receive` does."""
        message = self._stream.receive("report", timeout_s=self._timeout_s)
        if (message.round, message.iteration) != (self._round, self.iteration):
            raise WireError(f"the end of round {message.round} came in round {self._round}")
        return bool(message.validates)

    def told(self) -> float:
        """Loss of this mini-batch, from the other end.

        Raises
        ------
        WireError
            As `receive` does; a `PeerDivergedError` if the loss is not finite.
        """
        message = self._stream.receive("report", timeout_s=self._timeout_s)
        if (message.round, message.iteration) != (self._round, self.iteration):
            raise WireError(
                f"a loss of round {message.round}, iteration {message.iteration} came in round "
                f"{self._round}, iteration {self.iteration}"
            )
        if not math.isfinite(message.loss):
            raise PeerDivergedError(
                f"the loss of mini-batch {self.iteration} is {message.loss} at {self._stream.peer}"
            )
        self._believe(message.compute_s)
        loss: float = message.loss
        return loss

    def spend(self, busy_j: float | None, waiting_j: float | None) -> None:
        """Tell the other end what the round cost in energy [J]; raises what `Stream.send` does."""
        self._stream.send(Spent(round=self._round, busy_j=busy_j, waiting_j=waiting_j))

    def spent(self) -> tuple[float | None, float | None]:
        """Energy of computing and of the rest at the other end [J]; None where nothing counts it.

        Raises
        ------
        WireError
            As `receive` does.
        """
        message = self._stream.receive("spent", timeout_s=self._timeout_s)
        if message.round != self._round:
            raise WireError(f"energy of round {message.round} came in round {self._round}")
        if not (message.HasField("busy_j") and message.HasField("waiting_j")):
            return None, None
        found: tuple[float, float] = (message.busy_j, message.waiting_j)
        if not all(0 <= one < math.inf for one in found):
            raise WireError(f"the energy of round {self._round} is {found[0]} and {found[1]} J")
        return found

    def _believe(self, claimed_s: float) -> None:
        passed_s = time.monotonic() - self._begun_s
        self.peer_compute_s = believed_s(self.peer_compute_s + claimed_s, passed_s)

    def _form(self, kind: Tensors.Kind) -> Form | None:
        if kind in _UP:
            return self._forms.up
        return self._forms.down if kind in _DOWN else None

    def _untold_s(self) -> float:
        untold_s = self.compute_s - self._told_s
        self._told_s = self.compute_s
        return untold_s
