"""Each preflight check passes on a tiny model, fails on a planted defect, and leaves everything as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from luthier.accel import attention
from luthier.accel.head import HeadShape
from luthier.accel.scorer import ScoringModel
from luthier.checks import preflight as checks
from luthier.data.batch import Batch, SegmentTable
from luthier.generate.batched import BatchedEngine
from luthier.generate.protocol import Request
from luthier.models import result as saved_result
from luthier.models.fingerprint import fingerprint
from luthier.training.loop import Trainee
from tests.tiny import VOCAB, random_rows, tiny_tokenizer
from tests.unit.checks.conftest import CPU

ROWS = random_rows([5, 9, 14])


def largest(trainee: Trainee) -> Callable[[], Batch]:
    return partial(trainee.feed.largest_batch, 2)


def break_weights(scoring: ScoringModel) -> None:
    with torch.no_grad():
        next(p for n, p in scoring.named_parameters() if "embed_tokens" in n).fill_(float("nan"))


class OneDocument(SegmentTable):
    """A table that lays all documents together."""

    def __init__(self, table: SegmentTable) -> None:
        super().__init__((0,), (table.num_tokens,), (-1,))


def leak(scoring: ScoringModel) -> None:
    """All documents of a batch see each other."""
    forward = scoring.forward
    scoring.forward = lambda batch, want: forward(replace(batch, segments=OneDocument(batch.segments)), want)  # type: ignore[method-assign]


# -- longest row ---------------------------------------------------------------------------------------------------------


def test_longest_row_trains_and_leaves_no_trace(trainee: Trainee) -> None:
    weights, rng = fingerprint(dict(trainee.model.named_parameters())), torch.get_rng_state()
    check = checks.longest_row_trains(trainee, largest(trainee))
    assert check.passed
    assert "longest row 19" in check.claim
    assert fingerprint(dict(trainee.model.named_parameters())) == weights
    assert torch.equal(torch.get_rng_state(), rng)
    assert trainee.optimizer.gradients() == {}


def test_longest_row_fails_where_memory_is_too_small(trainee: Trainee, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "total_memory_bytes", lambda _: 1024)
    assert not checks.longest_row_trains(trainee, largest(trainee)).passed


def test_longest_row_fails_where_memory_runs_out(trainee: Trainee, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")

    monkeypatch.setattr(checks, "accumulate_gradients", out_of_memory)
    check = checks.longest_row_trains(trainee, largest(trainee))
    assert not check.passed
    assert "CUDA out of memory. Tried to allocate 2 GiB." in str(check.measured)


def test_longest_row_is_cut_smaller_where_memory_runs_out_once(
    trainee: Trainee, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = checks.accumulate_gradients

    def short_of_memory(model: Any, objective: Any, batches: list[Batch], *rest: Any, **more: Any) -> Any:
        asked.append(batches[0].num_tokens)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(model, objective, batches, *rest, **more)

    def step_down(_: str) -> bool:
        trainee.feed.budget_tokens = 20
        return True

    monkeypatch.setattr(checks, "accumulate_gradients", short_of_memory)
    smaller = replace(trainee, step_down=step_down)
    check = checks.longest_row_trains(smaller, largest(smaller))
    assert check.passed
    assert asked[1] <= 20 < asked[0]
    assert f"({asked[1]} tokens" in check.claim


# -- evaluation and generation -------------------------------------------------------------------------------------------


def test_evaluation_runs(trainee: Trainee, scoring: ScoringModel) -> None:
    assert checks.evaluation_runs(trainee, largest(trainee)).passed
    break_weights(scoring)
    check = checks.evaluation_runs(trainee, largest(trainee))
    assert not check.passed
    assert check.measured == "not finite"


def test_generation_runs(scoring: ScoringModel) -> None:
    engine = BatchedEngine(scoring.model)  # type: ignore[arg-type]
    request = Request((1, 5, 6), 4, frozenset({2}))
    assert checks.generation_runs(engine, request).passed
    break_weights(scoring)
    assert not checks.generation_runs(engine, request).passed


# -- step 0 and packing --------------------------------------------------------------------------------------------------


def test_step0_equals_plain_forward(scoring: ScoringModel) -> None:
    check = checks.step0_equals_plain_forward(scoring, ROWS, CPU)
    assert check.passed
    assert isinstance(check.measured, float)


def test_step0_fails_with_a_wrong_head_scale(scoring: ScoringModel) -> None:
    scoring.shape = HeadShape(scale=1.01)
    assert not checks.step0_equals_plain_forward(scoring, ROWS, CPU).passed


def test_step0_fails_where_documents_see_each_other(scoring: ScoringModel) -> None:
    leak(scoring)
    assert not checks.step0_equals_plain_forward(scoring, ROWS, CPU).passed


def test_step0_fails_with_broken_weights(scoring: ScoringModel) -> None:
    break_weights(scoring)
    check = checks.step0_equals_plain_forward(scoring, ROWS, CPU)
    assert not check.passed
    assert check.measured == "not finite"


def test_packing_does_not_leak(scoring: ScoringModel) -> None:
    assert checks.packing_does_not_leak(scoring, ROWS[0], ROWS[1], VOCAB).passed
    leak(scoring)
    check = checks.packing_does_not_leak(scoring, ROWS[0], ROWS[1], VOCAB)
    assert not check.passed
    assert float(check.measured) > 1e-5


def test_packing_is_not_proven_where_nothing_changes(scoring: ScoringModel) -> None:
    """A model whose scores do not depend on the text at all could not leak, and is broken."""
    with torch.no_grad():
        scoring.causal_lm.get_output_embeddings().weight.zero_()
    assert not checks.packing_does_not_leak(scoring, ROWS[0], ROWS[1], VOCAB).passed


def test_the_model_is_left_in_training_mode_with_our_attention(scoring: ScoringModel) -> None:
    scoring.train()
    checks.step0_equals_plain_forward(scoring, ROWS, CPU)
    checks.packing_does_not_leak(scoring, ROWS[0], ROWS[1], VOCAB)
    assert scoring.training
    assert attention.base_model(scoring.model).config._attn_implementation == "luthier_sdpa"


# -- saving and disk -----------------------------------------------------------------------------------------------------


def test_saves_and_reopens_and_removes_it(trainee: Trainee, scoring: ScoringModel, tmp_path: Path) -> None:
    assert checks.saves_and_reopens(scoring.model, tiny_tokenizer(), trainee, tmp_path, "base").passed
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_corrupts_is_found(
    trainee: Trainee, scoring: ScoringModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corrupting(model: Any, tokenizer: Any, folder: Path, *, base_name: str) -> None:
        saved_result.save_result(model, tokenizer, folder, base_name=base_name)
        path = folder / "adapter_model.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(checks, "save_result", corrupting)
    check = checks.saves_and_reopens(scoring.model, tiny_tokenizer(), trainee, tmp_path, "base")
    assert not check.passed
    assert str(check.measured).startswith("1 differences, first: ")
    assert "has other values" in str(check.measured)


def test_disk_suffices(
    trainee: Trainee, scoring: ScoringModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = sum(t.numel() * t.element_size() for t in trainee.optimizer.state_tensors().values())
    adapter = sum(p.numel() * 4 for p in scoring.model.parameters() if p.requires_grad)
    need = 3 * state + 2 * adapter + 16 * 1024**2
    for free, passed in ((need, True), (need - 1, False)):
        monkeypatch.setattr(checks.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        assert checks.disk_suffices(tmp_path, trainee, scoring.model).passed is passed
