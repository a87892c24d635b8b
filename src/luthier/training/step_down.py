"""When memory runs out: the work is cut smaller and tried again, so that a training goes on from the state that it has.

What failed must have changed nothing but gradients, which are forgotten; weights and moments are those after the last step.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch

from luthier.accel.cpu_allocator import return_freed_memory
from luthier.errors import ResourceError

if TYPE_CHECKING:
    from luthier.training.loop import Trainee

T = TypeVar("T")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the host had no memory left to give."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _first_words(error: BaseException) -> str:
    """Its first line, without the place in torch's source that some begin with."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[enforce fail at [^\]]*\][^.]*\. ", "", line)


def with_smaller_steps(trainee: Trainee, attempt: Callable[[], T]) -> T:
    """Run `attempt`; where memory runs out, go down a rung and run it again.

    Raises:
        ResourceError: Memory ran out on the lowest rung, or while several processes train together.
    """
    while True:
        try:
            return attempt()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            words = _first_words(error)
        # Outside of the handler: the error's frames held the activations.
        trainee.optimizer.zero_gradients()
        gc.collect()
        return_freed_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if trainee.step_down is None or not trainee.step_down(words):
            raise ResourceError(
                f"Out of memory, with no smaller way to run the same step: {words} The last checkpoint is intact. Lower "
                "data.max_length or adapter.rank, train an adapter instead of everything, or take a larger device "
                "(luthier plan says how large)."
            )
