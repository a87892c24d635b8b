"""The thread that owns the model: requests of all clients join the batch that is running, and leave it when they are gone.

Only this thread touches the model. Others hand in requests, mark rows as cancelled, and ask for changes of the model (an
adapter more or less), which are made between two steps. Where adapters can be mixed, rows of all voices run together; where
they cannot (DoRA, a quantised base), rows of one voice run while others wait their turn.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch

from luthier.accel.attention import attention_as
from luthier.generate import slot_attention
from luthier.generate.adapter_mix import AdapterMix, can_mix, mixing
from luthier.generate.batched import MAX_CACHE_BYTES, context_tokens, num_slots, one_voice, refuse_unsupported, voice_of
from luthier.generate.protocol import Request
from luthier.generate.running import Row, RunningBatch
from luthier.generate.slots import SlotMemory

_LOG = logging.getLogger("luthier.serve")


class QueueFullError(Exception):
    """As many wait as may; `ahead` of them."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead
        super().__init__(f"{ahead} answers are in progress or wait already")


class EngineStoppedError(Exception):
    """The engine takes nothing any more."""


class Job(NamedTuple):
    """What belongs to a row: whom to tell that it has grown or ended, and where to write why it failed."""

    on_change: Callable[[], None]
    failures: dict[Row, Exception]


class Change(NamedTuple):
    """A wish to change the model; made when no row has `without_voice`."""

    make: Callable[[Any], Any]
    without_voice: str | None
    done: Future[None]


class ServingEngine:
    """Continuous batching for many clients.

    Args:
        model: A causal language model of transformers, or a PeftModel around one; nobody else may use it meanwhile.
        slots: Rows in progress at once; fewer where their keys and values would not fit.
        capacity_tokens: Of prompt and answer together.
        waiting: Rows that may wait beside them.
        max_cache_bytes: Keys and values of all slots.
    """

    def __init__(
        self,
        model: Any,
        *,
        slots: int,
        capacity_tokens: int,
        waiting: int,
        max_cache_bytes: int = MAX_CACHE_BYTES,
    ) -> None:
        self.model = model
        self.context_tokens = context_tokens(model)
        refuse_unsupported(model, use_adapter=True)
        positions = self.context_tokens
        self._capacity = capacity_tokens if positions is None else min(capacity_tokens, positions)
        self.num_slots = num_slots(model, slots, self._capacity, max_cache_bytes)
        self._max_rows = self.num_slots + waiting
        self._wake = threading.Condition()
        self._incoming: deque[Row] = deque()
        self._held: deque[Row] = deque()  # taken in, of a voice whose turn it is not
        self._changes: list[Change] = []
        self._jobs: dict[Row, Job] = {}
        self._is_stopped = False
        self._batch = self._new_batch()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.num_steps = 0

    # -- for other threads ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Give up what is running; returns when the model computes no more."""
        with self._wake:
            self._is_stopped = True
            self._wake.notify()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive() and not self._is_stopped

    @property
    def num_active(self) -> int:
        """Rows that have a slot."""
        return len(self._batch.active)

    @property
    def num_waiting(self) -> int:
        """Rows that have none yet."""
        return max(0, len(self._jobs) - self.num_active)

    def submit(
        self, requests: Sequence[Request], on_change: Callable[[], None], failures: dict[Row, Exception]
    ) -> list[Row]:
        """Take requests in; all of them or none.

        Args:
            requests: Checked by the caller.
            on_change: Called on the engine's thread whenever rows have grown or ended.
            failures: Where it is written why a row will get no more tokens.

        Raises:
            InputError: A request names an adapter that the model does not have.
            QueueFullError: Too many wait.
            EngineStoppedError: It has been stopped.
        """
        with self._wake:
            if self._is_stopped:
                raise EngineStoppedError
            # Under the lock: an adapter that is being taken off must not get another row.
            rows = [Row(i, r, self._capacity, voice_of(self.model, r)) for i, r in enumerate(requests)]
            if len(self._jobs) + len(rows) > self._max_rows:
                raise QueueFullError(len(self._jobs))
            self._jobs.update((row, Job(on_change, failures)) for row in rows)
            self._incoming += rows
            self._wake.notify()
        return rows

    def cancel(self, rows: Sequence[Row]) -> None:
        """Nobody wants these any more; their slots are free after the step that is running."""
        for row in rows:
            row.is_cancelled = True

    def change(self, make: Callable[[Any], Any], without_voice: str | None = None) -> Future[None]:
        """Change the model between two steps: `make` is given it and returns what it has become.

        Args:
            make: Runs on the engine's thread.
            without_voice: Wait until no row is answered by this adapter.
        """
        done: Future[None] = Future()
        with self._wake:
            if self._is_stopped:
                raise EngineStoppedError
            self._changes.append(Change(make, without_voice, done))
            self._wake.notify()
        return done

    # -- on the engine's thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        with attention_as(self.model, slot_attention.NAME):
            while True:
                with self._wake:
                    while not (self._jobs or self._ready_changes() or self._is_stopped):
                        self._wake.wait()
                if self._is_stopped:
                    break
                for change in self._ready_changes():
                    self._make(change)
                self._answer_until_interrupted()
        with self._wake:
            left, self._jobs = self._jobs, {}
            changes, self._changes = self._changes, []
        for row in left:
            self._fail(row, left[row], EngineStoppedError())
        for change in changes:
            change.done.set_exception(EngineStoppedError())

    def _ready_changes(self) -> list[Change]:
        if not self._changes:
            return []
        used = {row.voice for row in list(self._jobs)}
        return [c for c in self._changes if c.without_voice is None or c.without_voice not in used]

    def _make(self, change: Change) -> None:
        with self._wake:
            self._changes.remove(change)
        # What takes an adapter off is quick, and nobody may ask for it meanwhile; what loads one is neither.
        with self._wake if change.without_voice is not None else nullcontext():
            if any(row.voice == change.without_voice is not None for row in self._jobs):
                self._changes.append(change)
                return
            try:
                self.model = self._batch.model = change.make(self.model)
            except Exception as error:
                change.done.set_exception(error)
            else:
                change.done.set_result(None)

    def _answer_until_interrupted(self) -> None:
        """Steps, until nothing is left, another voice has its turn, or the model is to be changed."""
        self._take_in()
        if not (self._batch.has_rows or self._held):
            return
        is_mixed = can_mix(self.model)
        first = next(iter((*self._batch.active, *self._batch.waiting, *self._held)))
        try:
            with mixing(self.model) if is_mixed else one_voice(self.model, first.voice) as mix, torch.inference_mode():
                while not (self._is_stopped or self._ready_changes()):
                    self._take_in()
                    while self._held and (is_mixed or self._held[0].voice == first.voice):
                        self._batch.waiting.append(self._held.popleft())
                    self._batch.drop_cancelled()
                    if not self._batch.has_rows:
                        return
                    self._step(mix)
        except Exception as error:
            self._give_up(error)

    def _take_in(self) -> None:
        with self._wake:
            self._held += self._incoming
            self._incoming.clear()
            for row in [row for row in self._jobs if row.is_cancelled]:
                del self._jobs[row]
        if any(row.is_cancelled for row in self._held):
            self._held = deque(row for row in self._held if not row.is_cancelled)

    def _step(self, mix: AdapterMix | None) -> None:
        stepped = self._batch.step(mix)
        self.num_steps += 1
        told: set[Callable[[], None]] = set()
        with self._wake:
            for row in stepped:
                job = self._jobs.get(row) if row.is_running else self._jobs.pop(row, None)
                if job is not None:
                    told.add(job.on_change)
        for on_change in told:
            on_change()

    def _give_up(self, error: Exception) -> None:
        """Fail the rows in progress and go on with those that wait: what their slots hold is not to be trusted."""
        _LOG.error("A step failed:\n%s", "".join(traceback.format_exception(error)))
        waiting, failed = self._batch.waiting, self._batch.active
        self._batch = self._new_batch()
        self._batch.waiting = waiting
        if not failed and waiting:  # it failed before a row had its slot: one of these must go, or it fails for ever
            failed = [waiting.popleft()]
        for row in failed:
            with self._wake:
                job = self._jobs.pop(row, None)
            if job is not None:
                self._fail(row, job, error)

    def _fail(self, row: Row, job: Job, error: Exception) -> None:
        job.failures[row] = error
        job.on_change()

    def _new_batch(self) -> RunningBatch:
        return RunningBatch(self.model, SlotMemory(self.num_slots, self._capacity))
