"""The reference's log-probabilities of all answers: computed once before the first step, kept on disk, found again by what made
them (weights, tokenizer, template, tokens, number format).

The reference is the policy as it begins. A fresh adapter changes nothing, so the base alone is the reference, whatever the seed
of the adapter; one that begins elsewhere (continued, or taken out of the weights) belongs to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel

from luthier.accel.reference import LiveReference
from luthier.accel.scorer import ScoringModel
from luthier.data.batch import Batch
from luthier.data.cache import cache_folder
from luthier.data.collate import collate
from luthier.data.example import Example, Part
from luthier.data.pack import pack
from luthier.data.prefix import plan_sharing
from luthier.data.tokenize import TokenizedSet
from luthier.errors import ModelError
from luthier.models.adapters import trained_parameters
from luthier.models.fingerprint import fingerprint
from luthier.models.placement import Placement
from luthier.objectives.answers import score_segments
from luthier.reporter import Reporter
from luthier.runs.atomic import sync_folder
from luthier.training.ranks import Ranks
from luthier.training.step import autocast

MOST_NATS_PER_TOKEN = {"fp32": 1e-4, "bf16": 3e-2, "fp16": 3e-2}
"""Two ways of computing the same policy differ by rounding: by no more than this per token of an answer."""

CODE_VERSION = 1
"""Raise it whenever other numbers come out of the same tokens and weights."""

_EXAMPLES_AT_ONCE = 256

Sides = tuple[TokenizedSet, TokenizedSet]
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Beginning:
    """The policy before its first step, and how to score with it.

    Attributes:
        scoring: The model.
        base_fingerprint: Of its frozen weights.
        placement: Device and number format.
        budget_tokens: Tokens that go through the model at once.
        ranks: One of them computes, the others read.
    """

    scoring: ScoringModel
    base_fingerprint: str
    placement: Placement
    budget_tokens: int
    ranks: Ranks

    def is_base(self, tokens: TokenizedSet) -> bool:
        """Whether the model has an adapter that changes nothing yet: measured on the shortest example."""
        if not isinstance(self.scoring.model, PeftModel):
            return False
        batch = collate([tokens[int(tokens.lengths.argmin())]]).to(self.placement.device)
        with _evaluating(self.scoring), torch.no_grad(), autocast(self.placement):
            begins = score_segments(self.scoring, batch)
            base_N = LiveReference(self.scoring)(batch)
        per_token_N = (begins.logprob_N - base_N).abs() / begins.length_N.clamp(min=1.0)
        return float(per_token_N.max()) <= MOST_NATS_PER_TOKEN[self.placement.compute]


def require_live_reference(beginning: Beginning, tokens: TokenizedSet) -> None:
    """Refuse a live reference where switching the adapter off does not give the policy as it begins.

    Raises:
        ModelError: The adapter begins elsewhere than at the base.
    """
    if isinstance(beginning.scoring.model, PeftModel) and not beginning.is_base(tokens):
        raise ModelError(
            "objective.reference: live switches the adapter off, but this adapter begins elsewhere than at the base (it is "
            "continued, or its init takes parts out of the weights). Use objective.reference=cached: the policy as it begins."
        )


def with_reference(beginning: Beginning, sides: Sides, *, rendering: Sequence[str], reporter: Reporter) -> Sides:
    """Training and validation rows with the reference's log-probabilities, from the disk where they are there.

    Args:
        rendering: Fingerprints of tokenizer and chat template.
    """
    alone = beginning.is_base(sides[0])
    key = _key(beginning, sides, rendering, alone=alone)
    place = cache_folder() / "reference" / f"{key}.npz"
    values = None
    if beginning.ranks.is_main:
        values = _read(place, sides, reporter)
        if values is None:
            reporter.say(f"Reference log-probabilities: miss ({key}); the model before training scores all answers.")
            values = _compute(beginning, sides, alone, reporter)
            _write(place, values, reporter)
        else:
            reporter.say(f"Reference log-probabilities: hit ({key}).")
    beginning.ranks.barrier()
    if values is None:
        values = _read(place, sides, reporter) or _compute(beginning, sides, alone, reporter)
    train, validation = (replace(tokens, reference=own) for tokens, own in zip(sides, values, strict=True))
    return train, validation


def _key(beginning: Beginning, sides: Sides, rendering: Sequence[str], *, alone: bool) -> str:
    parts = {
        "code": CODE_VERSION,
        "base weights": beginning.base_fingerprint,
        "adapter": "none" if alone else fingerprint(dict(trained_parameters(beginning.scoring.model))),
        "rendering": list(rendering),
        "tokens": [tokens.fingerprint for tokens in sides],
        "compute": beginning.placement.compute,
    }
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _compute(beginning: Beginning, sides: Sides, alone: bool, reporter: Reporter) -> list[Values]:
    scoring, placement = beginning.scoring, beginning.placement
    base = LiveReference(scoring) if alone else None
    total, done = sum(len(tokens) for tokens in sides), 0
    results: list[Values] = []
    with _evaluating(scoring), torch.no_grad(), autocast(placement):
        for tokens in sides:
            values = np.zeros(len(tokens.parents), np.float32)  # prompts have no targets, and stay at zero
            for units in _bins(tokens, beginning.budget_tokens):
                reporter.progress("reference log-probabilities", done, total)
                batch = collate(units).to(placement.device)
                scores_N = base(batch) if base else score_segments(scoring, batch).logprob_N
                done += _put(scores_N.float().tolist(), batch, tokens, values)
            results.append(values)
    reporter.progress("reference log-probabilities", total, total)
    return results


def _put(scores: Sequence[float], batch: Batch, tokens: TokenizedSet, values: Values) -> int:
    """Write the scores of a batch's answers to the places of their segments; returns how many examples they are of."""
    examples: set[int] = set()
    for score, example, part in zip(scores, batch.rows, batch.parts, strict=True):
        if part != Part.TEXT:
            first, end = tokens.example_offsets[example : example + 2].tolist()
            values[first + tokens.parts[first:end].tolist().index(part)] = score
            examples.add(example)
    return len(examples)


def _bins(tokens: TokenizedSet, budget_tokens: int) -> Iterator[list[Example]]:
    """What goes through the model together, beginnings shared; `row` counts examples here.

    In stretches, because packing compares each with each.
    """
    for start in range(0, len(tokens), _EXAMPLES_AT_ONCE):
        numbers = range(start, min(start + _EXAMPLES_AT_ONCE, len(tokens)))
        units = plan_sharing([replace(tokens[number], row=number) for number in numbers], budget_tokens)
        for packed in pack([unit.num_tokens for unit in units], budget_tokens):
            yield [units[i] for i in packed]


@contextmanager
def _evaluating(scoring: ScoringModel) -> Iterator[None]:
    was_training = scoring.training
    scoring.eval()
    try:
        yield
    finally:
        scoring.train(was_training)


def _read(place: Path, sides: Sides, reporter: Reporter) -> list[Values] | None:
    """None where there is nothing, or nothing whole."""
    if not place.is_file():
        return None
    try:
        with place.open("rb") as file, np.load(file) as kept:
            values = [np.asarray(kept[name], np.float32) for name in ("train", "validation")]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reporter.say(f"{place} is damaged ({error}); the reference is computed again.", "warning")
        return None
    fits = all(len(own) == len(tokens.parents) for own, tokens in zip(values, sides, strict=True))
    return values if fits and not any(np.isnan(own).any() for own in values) else None


def _write(place: Path, values: Sequence[Values], reporter: Reporter) -> None:
    aside = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            np.savez(file, train=values[0], validation=values[1])
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, place)
        sync_folder(place.parent)
    except OSError as error:  # they are in memory: training can go on
        reporter.say(
            f"Reference log-probabilities: not written ({error}); the next run computes them again.", "warning"
        )
    finally:
        aside.unlink(missing_ok=True)
