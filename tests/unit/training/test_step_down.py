"""Running out of memory: what is tried again, what is not, and what is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from luthier.errors import ResourceError
from luthier.training import step as training_step
from luthier.training.ranks import Ranks
from luthier.training.step import train_step
from luthier.training.step_down import is_out_of_memory, with_smaller_steps

OUT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")


class Optimizer:
    def __init__(self) -> None:
        self.forgotten = 0

    def zero_gradients(self) -> None:
        self.forgotten += 1

    def step(self, *_: Any, **__: Any) -> None:
        raise OUT


def trainee(rungs: int) -> Any:
    left = [rungs]
    said: list[str] = []

    def step_down(words: str) -> bool:
        said.append(words)
        left[0] -= 1
        return left[0] >= 0

    return SimpleNamespace(optimizer=Optimizer(), step_down=step_down, said=said)


def failing(times: int) -> Any:
    left = [times]

    def attempt() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise OUT
        return "done"

    return attempt


def test_it_is_tried_again_on_each_rung_with_gradients_forgotten() -> None:
    one = trainee(3)
    assert with_smaller_steps(one, failing(2)) == "done"
    assert one.optimizer.forgotten == 2
    assert one.said == ["CUDA out of memory. Tried to allocate 2 GiB."] * 2


def test_the_end_of_the_ladder_is_an_error_that_says_what_helps() -> None:
    with pytest.raises(ResourceError, match=r"Tried to allocate 2 GiB\. The last checkpoint is intact"):
        with_smaller_steps(trainee(1), failing(2))
    with pytest.raises(ResourceError, match="no smaller way"):
        with_smaller_steps(SimpleNamespace(optimizer=Optimizer(), step_down=None), failing(1))  # type: ignore[arg-type]


def test_other_errors_pass() -> None:
    def broken() -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        with_smaller_steps(trainee(3), broken)


def test_the_hosts_words_are_known() -> None:
    torch_says = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: 9 bytes."
    assert not is_out_of_memory(RuntimeError("could not create a primitive"))  # oneDNN's word for more than one thing
    for error in (RuntimeError(torch_says), MemoryError()):
        assert is_out_of_memory(error)
        left, one = [error], trainee(1)

        def attempt(left: list[Any] = left) -> str:
            if left:
                raise left.pop()
            return "done"

        assert with_smaller_steps(one, attempt) == "done"
        assert "enforce" not in one.said[0]
        assert one.said[0]


def test_an_update_that_runs_out_of_memory_is_not_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_step, "accumulate_gradients", lambda *_, **__: {})
    one = trainee(3)

    step: Any = train_step

    def attempt() -> Any:
        return step(
            torch.nn.Linear(1, 1), SimpleNamespace(), [], one.optimizer, learning_rate=0.1,
            loss_scale=SimpleNamespace(scale=1.0), placement=None, ranks=Ranks(),
        )  # fmt: skip

    with pytest.raises(ResourceError, match="while the weights were updated"):
        with_smaller_steps(one, attempt)
    assert one.said == []
