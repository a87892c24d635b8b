"""Every field of an objective's section changes the loss that is built from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from luthier.config.objective import ObjectiveSection
from luthier.data.batch import Batch
from luthier.data.collate import collate
from luthier.data.example import Example, Part, Segment
from luthier.objectives.base import Scores, StepObjective, Want
from luthier.workflows.build_objective import build_objective, overlap_tokens

SECTIONS: TypeAdapter[Any] = TypeAdapter(ObjectiveSection)


def segment(length: int, part: Part = Part.TEXT, reference: float = -9.0) -> Segment:
    ids = np.arange(3, 3 + length, dtype=np.int32)
    weights = np.full(length, float(part != Part.TEXT), np.float32)
    return Segment(ids, weights, parent=-1 if part == Part.TEXT else 0, part=part, reference=reference)


PAIRS = collate([
    Example(0, (segment(4), segment(5, Part.CHOSEN, -7.0), segment(3, Part.REJECTED, -6.0))),
    Example(1, (segment(6), segment(2, Part.CHOSEN, -2.0), segment(7, Part.REJECTED, -9.0))),
])  # fmt: skip
LABELLED = collate([
    Example(0, (segment(4), segment(5, Part.GOOD, -7.0), segment(3, Part.MISMATCHED, -8.0))),
    Example(1, (segment(6), segment(2, Part.BAD, -2.0), segment(4, Part.MISMATCHED, -3.5))),
])  # fmt: skip


def scorer(batch: Batch, want: Want) -> Scores:
    """Log-probabilities that depend on the token alone; of a distribution over 50 tokens."""
    logprob_S = -torch.sin(batch.targets.ids_S.float()).abs() - 0.3
    return Scores(logprob_S, vocab_mean_S=logprob_S - 2.0 if want.vocab_mean else None)


def loss(section: dict[str, Any]) -> dict[str, float]:
    objective: Any = build_objective(SECTIONS.validate_python(section), None, is_full=False)  # type: ignore[arg-type]
    batch = LABELLED if section["name"] == "kto" else PAIRS
    if isinstance(objective, StepObjective):
        objective, (batch,) = objective.prepare(scorer, [batch], dict, torch.device("cpu"))
    return {name: float(term.total) for name, term in objective.loss(scorer, batch).terms.items()}


CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"name": "sft"}, {"label_smoothing": 0.1}),
    ({"name": "dpo"}, {"beta": 0.3}),
    *(({"name": "dpo"}, {"loss": kind}) for kind in ("ipo", "hinge", "apo_zero", "apo_down", "sigmoid_norm")),
    *(({"name": "dpo"}, {"loss": kind, "label_smoothing": 0.2}) for kind in ("cdpo", "robust")),
    ({"name": "dpo", "loss": "cdpo", "label_smoothing": 0.2}, {"label_smoothing": 0.3}),
    ({"name": "dpo"}, {"sft_weight": 0.5}),
    ({"name": "orpo"}, {"weight": 0.7}),
    ({"name": "simpo"}, {"beta": 3.0}),
    ({"name": "simpo"}, {"gamma": 0.2}),
    ({"name": "simpo"}, {"sft_weight": 0.5}),
    ({"name": "cpo"}, {"beta": 0.4}),
    ({"name": "cpo"}, {"loss": "hinge"}),
    ({"name": "cpo"}, {"sft_weight": 0.2}),
    ({"name": "cpo"}, {"label_smoothing": 0.2}),
    ({"name": "kto"}, {"beta": 0.4}),
    ({"name": "kto"}, {"good_weight": 1.4}),
    ({"name": "kto"}, {"bad_weight": 1.4}),
]


@pytest.mark.parametrize(("section", "change"), CASES)
def test_a_field_changes_the_loss(section: dict[str, Any], change: dict[str, Any]) -> None:
    before, after = loss(section), loss({**section, **change})
    assert all(np.isfinite(value) for value in (*before.values(), *after.values()))
    assert before != after


def test_the_cached_reference_counts() -> None:
    objective: Any = build_objective(SECTIONS.validate_python({"name": "dpo"}), None, is_full=False)  # type: ignore[arg-type]
    assert PAIRS.reference_N is not None
    other = replace(PAIRS, reference_N=PAIRS.reference_N * torch.linspace(0.5, 1.5, len(PAIRS.reference_N)))
    found = [float(objective.loss(scorer, batch).terms["preference"].total) for batch in (PAIRS, other)]
    assert found[0] != found[1]


def test_pieces_overlap_as_the_section_says() -> None:
    assert overlap_tokens(SECTIONS.validate_python({"name": "pretrain", "overlap_tokens": 9})) == 9
    assert overlap_tokens(SECTIONS.validate_python({"name": "sft"})) == 1
