"""Before training: everything that could fail at the end is done once, small, now. Under a minute on small models.

Each function makes one check on the real model and the real data, and leaves weights, gradients and random numbers as they were.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from luthier.accel.attention import plain_attention
from luthier.accel.scorer import ScoringModel
from luthier.data.answers import separate
from luthier.data.batch import Batch
from luthier.data.collate import collate
from luthier.data.example import Example
from luthier.errors import ModelError, ResourceError
from luthier.generate.protocol import Engine, Request
from luthier.models.placement import Placement
from luthier.models.result import differences, result_kind, save_result
from luthier.objectives.base import Want
from luthier.training.checkpoint import CheckpointStore, Position
from luthier.training.loop import Trainee
from luthier.training.memory import peak_memory_bytes, total_memory_bytes
from luthier.training.step import accumulate_gradients, autocast, validation_loss
from luthier.training.step_down import with_smaller_steps
from luthier.types import Check
from luthier.units import GIB

RELATIVE_LIMIT = {"fp32": 1e-4, "bf16": 1e-2, "fp16": 1e-2}


def longest_row_trains(trainee: Trainee, largest: Callable[[], Batch]) -> Check:
    """Forward and backward over the largest micro-batch fit into memory, if need be cut smaller; the gradient is thrown away.

    Args:
        largest: The largest micro-batch of the feed as it is cut now.
    """
    device = trainee.placement.device
    capacity = total_memory_bytes(device)
    measured: float | str

    def attempt() -> None:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            accumulate_gradients(
                trainee.model,
                trainee.objective,
                [largest()],
                trainee.optimizer,
                placement=trainee.placement,
                scale=trainee.loss_scale.scale,
                ranks=trainee.ranks,
            )

    try:
        with_smaller_steps(trainee, attempt)
        peak = peak_memory_bytes(device)
        measured, passed = round(peak / GIB, 2), peak < capacity
    except ResourceError as error:
        measured, passed = str(error), False
    finally:
        trainee.optimizer.zero_gradients()
    batch = largest()
    return Check(
        name="preflight.longest_row",
        claim=f"A training step with the largest micro-batch ({batch.num_tokens} tokens, its longest row "
        f"{batch.longest_row_tokens}) fits into memory.",
        measured=measured,
        limit=round(capacity / GIB, 2),
        unit="GiB" if isinstance(measured, float) else "",
        passed=passed,
        advice="Lower data.max_length; leave train.micro_batch_tokens and train.gradient_checkpointing open, so that steps are "
        "cut to fit; or see what `luthier plan` says for this device.",
    )


def evaluation_runs(trainee: Trainee, largest: Callable[[], Batch]) -> Check:
    """A validation step over the largest micro-batch gives a finite loss."""

    def attempt() -> float:
        return validation_loss(
            trainee.model, trainee.objective, [largest()], placement=trainee.placement, ranks=trainee.ranks
        )

    try:
        loss = with_smaller_steps(trainee, attempt)
        passed = math.isfinite(loss)
        measured: float | str = round(loss, 4) if passed else "not finite"
    except ResourceError as error:
        measured, passed = str(error), False
    return Check(
        name="preflight.evaluation",
        claim="A validation step with the longest row runs and its loss is finite.",
        measured=measured,
        limit="finite",
        unit="",
        passed=passed,
        advice="A loss that is not finite before training points at broken weights or at a compute type that overflows: "
        "try precision.compute=fp32.",
    )


def generation_runs(engine: Engine, request: Request) -> Check:
    """The model answers a prompt of the data through the engine that evaluation uses."""
    try:
        (answer,) = engine.generate([request])
        passed = len(answer.token_ids) > 0 and all(math.isfinite(x) for x in answer.logprobs)
        measured = f"{len(answer.token_ids)} tokens, ended by {answer.finish_reason}"
    except (ModelError, torch.OutOfMemoryError) as error:
        passed, measured = False, str(error).splitlines()[0]
    return Check(
        name="preflight.generation",
        claim="The model generates an answer to a prompt of the data.",
        measured=measured,
        limit="at least 1 token, finite log-probabilities",
        unit="",
        passed=passed,
        advice="The weights or the compute type are broken: try precision.compute=fp32 and another model folder.",
    )


def step0_equals_plain_forward(scoring: ScoringModel, rows: Sequence[Example], placement: Placement) -> Check:
    """Log-likelihood of packed rows through our path and of each row alone through plain transformers, before any update."""
    scoring.eval()
    with torch.no_grad(), autocast(placement):
        batch = collate(rows).to(placement.device)
        scores = scoring(batch, Want(logprob=True))
        assert scores.logprob_S is not None
        ours = float((scores.logprob_S * batch.targets.weights_S).sum())
        with plain_attention(scoring.model):
            plain = sum(_plain_log_likelihood(scoring, row, placement) for row in rows)
    scoring.train()
    relative = abs(ours - plain) / max(abs(plain), 1e-12)
    return Check(
        name="preflight.step0_loss",
        claim=f"The loss of {len(rows)} packed rows equals a plain transformers forward of each row alone.",
        measured=_short(relative),
        limit=RELATIVE_LIMIT[placement.compute],
        unit="relative",
        passed=relative <= RELATIVE_LIMIT[placement.compute],
        advice="This model computes something that packing does not know. Please report its name; do not train it.",
    )


def _short(value: float) -> float | str:
    """Three digits; words for what JSON has no number for."""
    return float(f"{value:.2e}") if math.isfinite(value) else "not finite"


def _plain_log_likelihood(scoring: ScoringModel, row: Example, placement: Placement) -> float:
    return sum(_plain_branch(scoring, branch, placement) for branch in separate(row))


def _plain_branch(scoring: ScoringModel, branch: Example, placement: Placement) -> float:
    (segment,) = branch.segments
    ids = torch.tensor(segment.ids, dtype=torch.int64, device=placement.device)[None]
    weights = torch.tensor(segment.weights, device=placement.device)[1:]
    logits_TV = scoring.causal_lm(input_ids=ids, use_cache=False).logits[0, :-1].float()
    logprob_T = logits_TV.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    return float((logprob_T * weights).sum())


def packing_does_not_leak(scoring: ScoringModel, first: Example, second: Example, vocab_size: int) -> Check:
    """Changing every token of one document leaves the scores of its neighbour as they were."""
    changed = replace(first, segments=tuple(replace(s, ids=(s.ids + 1) % vocab_size) for s in first.segments))
    scoring.eval()
    with torch.no_grad():
        batches = [collate([row, second]).to(scoring.device) for row in (first, changed)]
        scores = [scoring(batch, Want(logprob=True)).logprob_S for batch in batches]
    scoring.train()
    assert scores[0] is not None
    assert scores[1] is not None
    difference = float((scores[0] - scores[1])[first.num_targets :].abs().max())
    control = float((scores[0] - scores[1])[: first.num_targets].abs().max())
    return Check(
        name="preflight.packing",
        claim="Documents that are packed together do not see each other: the scores of one stay when the other changes.",
        measured=_short(difference)
        if control > 1e-5
        else "nothing changed at all: the scores do not depend on the text",
        limit=1e-5,
        unit="nats",
        passed=difference <= 1e-5 < control,
        advice="The attention of this model does not honour document borders. Choose another model.attention.",
    )


def saves_and_reopens(model: torch.nn.Module, tokenizer: Any, trainee: Trainee, folder: Path, base_name: str) -> Check:
    """Checkpoint and result are written into the run folder, read back, compared and removed."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".preflight-") as temporary:
        place = Path(temporary)
        save_result(model, tokenizer, place / result_kind(model), base_name=base_name)
        found = differences(model, place / result_kind(model))
        store = CheckpointStore(place / "checkpoints")
        store.save(trainee.optimizer, Position(0, 1.0, 0, torch.get_num_threads(), {}, 0.0), None)
        last = store.last
        assert last is not None
        store.restore(last, trainee.optimizer, rng=True)
    return Check(
        name="preflight.save",
        claim="Result and checkpoint can be saved, and read back equal.",
        measured="equal" if not found else f"{len(found)} differences, first: {found[0]}",
        limit="equal",
        unit="",
        passed=not found,
        advice="The saved file does not hold what the model holds. Check the disk; do not train before this passes.",
    )


def disk_suffices(folder: Path, trainee: Trainee, model: torch.nn.Module) -> Check:
    """Room for three checkpoints (last, best and the one being written) and for the result, twice while it is replaced."""
    state = sum(t.numel() * t.element_size() for t in trainee.optimizer.state_tensors().values())
    trained_only = result_kind(model) == "adapter"
    result = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad or not trained_only)
    need, free = 3 * state + 2 * result + 16 * 1024**2, shutil.disk_usage(folder).free
    return Check(
        name="preflight.disk",
        claim="The disk holds all checkpoints, the result and the report.",
        measured=round(free / GIB, 2),
        limit=round(need / GIB, 2),
        unit="GiB",
        passed=free >= need,
        advice="Free some space or choose a run.folder on another disk.",
    )
