"""How a training is cut to the memory that there is: the rung to begin on by the plan, and the next one when memory runs out.

`fit.json` in the run folder holds the ladder's present rung, so that a resume stands where the training stood.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from luthier.accel.checkpointing import keep
from luthier.errors import ModelError, RunError
from luthier.plan.engine import ours_on
from luthier.plan.job import BUDGET_TOKENS, Job
from luthier.plan.policy import CheckpointPolicy
from luthier.plan.rungs import Rung, choose, ladder
from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.training.feed import Feed
from luthier.training.memory import available_memory_bytes
from luthier.units import format_bytes
from luthier.workflows.assemble import Inputs, policy_asked_for
from luthier.workflows.planned import job_before_packing

FIT_FILE = "fit.json"
USED_SHARE = 0.95
"""Of the memory that is free; the rest is for what nobody plans."""


class Fitting:
    """The ladder of a training, and where on it the training stands."""

    def __init__(
        self, folder: RunFolder, rungs: tuple[Rung, ...], index: int, reporter: Reporter, *, alone: bool
    ) -> None:
        self._folder, self._rungs, self._index, self._reporter, self._alone = folder, rungs, index, reporter, alone
        self._model: nn.Module | None = None
        self._feed: Feed | None = None

    @property
    def rung(self) -> Rung:
        """Where the training stands."""
        return self._rungs[self._index]

    def hold(self, model: nn.Module, feed: Feed) -> None:
        """Put the rung on a model and its feed, now and whenever it changes."""
        self._model, self._feed = model, feed
        self._apply()

    def step_down(self, words: str) -> bool:
        """Take the next rung, and say so; False where there is none, or where other processes would not follow.

        Args:
            words: How the device said that memory ran out.
        """
        if self._index + 1 >= len(self._rungs) or not self._alone:
            return False
        before = self.rung
        self._index += 1
        self._apply()
        self.save()
        self._reporter.say(
            f"Out of memory with {before} ({words}). Going on from the same state with {self.rung}: the same step, cut smaller.",
            "warning",
        )
        return True

    def save(self) -> None:
        """Keep the rung for a resume."""
        record = {
            "micro_batch_tokens": self.rung.micro_batch_tokens,
            "layers": list(self.rung.policy.layers),
            "words": str(self.rung),
            "rung": self._index,
            "num_rungs": len(self._rungs),
        }
        self._folder.write_json(FIT_FILE, record)

    def _apply(self) -> None:
        assert self._model is not None
        assert self._feed is not None
        keep(self._model, self.rung.policy)
        self._feed.budget_tokens = self.rung.micro_batch_tokens


def fit(folder: RunFolder, inputs: Inputs, reporter: Reporter, *, resume: bool) -> Fitting:
    """The rung to begin on: that of the interrupted run, or the first whose plan fits into the memory that is free.

    Raises:
        RunError: The rung of the interrupted run cannot be read.
    """
    job = _job(inputs)
    rungs = _ladder(inputs, job)
    alone = inputs.ranks.world_size == 1
    if resume and (kept := folder.read_json(FIT_FILE)) is not None:
        return Fitting(folder, *_found_again(kept, rungs), reporter, alone=alone)
    index = 0
    if job is not None:
        kind: Any = inputs.placement.device.type
        # All processes must cut alike, whatever each finds free: several look at the whole device.
        available = USED_SHARE * available_memory_bytes(inputs.placement.device, whole=not alone)
        choice = choose(job, rungs, ours_on(kind), available)
        index = choice.index
        _say(choice.fits, rungs, index, choice.plan.total_bytes, choice.plan.high_bytes, available, reporter)
    fitting = Fitting(folder, rungs, index, reporter, alone=alone)
    if inputs.ranks.is_main:
        fitting.save()
    return fitting


def _job(inputs: Inputs) -> Job | None:
    try:
        return job_before_packing(inputs, _first_tokens(inputs), policy_asked_for(inputs))
    except ModelError:  # a family that the planner does not know
        return None


def _first_tokens(inputs: Inputs) -> int:
    return inputs.recipe.train.micro_batch_tokens or BUDGET_TOKENS[inputs.placement.device.type]


def _ladder(inputs: Inputs, job: Job | None) -> tuple[Rung, ...]:
    train = inputs.recipe.train
    return ladder(
        Rung(_first_tokens(inputs), policy_asked_for(inputs)),
        int(inputs.data.train.lengths.max()),
        tokens_fixed=train.micro_batch_tokens is not None,
        policy_fixed=train.gradient_checkpointing != "auto" or job is None,
        offloads=inputs.placement.device.type == "cuda",
    )


def _found_again(kept: dict[str, Any], rungs: tuple[Rung, ...]) -> tuple[tuple[Rung, ...], int]:
    """The ladder and the place on it of a run that goes on."""
    rung = Rung(kept["micro_batch_tokens"], CheckpointPolicy(tuple(kept["layers"])))
    if rung not in rungs:
        raise RunError(
            f"{FIT_FILE} of the run names a way to cut steps that this version does not have ({kept.get('words')}). "
            "Start the run again: luthier train … --overwrite"
        )
    return rungs, rungs.index(rung)


def _say(
    fits: bool,
    rungs: tuple[Rung, ...],
    index: int,
    planned: float,
    high: float,
    available: float,
    reporter: Reporter,
) -> None:
    if index:
        reporter.say(f"{format_bytes(available)} of memory can be used, so steps are cut smaller: {rungs[index]}.")
    if not fits:
        reporter.say(
            f"The plan needs {format_bytes(planned)} (up to {format_bytes(high)}) beside the program and "
            f"{format_bytes(available)} can be used, however steps are cut. `luthier plan` says what else would help.",
            "warning",
        )
