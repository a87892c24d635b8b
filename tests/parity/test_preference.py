"""Preference objectives: shared prompts equal rows alone, cached references equal live ones, and no cut of a step changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from luthier.accel.reference import LiveReference, frozen_copy
from luthier.accel.scorer import ScoringModel
from luthier.data.answers import separate, unshared
from luthier.data.collate import collate
from luthier.data.example import Example
from luthier.data.pack import pack
from luthier.data.prefix import plan_sharing
from luthier.errors import ModelError
from luthier.models.adapters import train_all
from luthier.objectives.base import Objective
from luthier.objectives.cpo import Cpo
from luthier.objectives.dpo import Dpo
from luthier.objectives.kto import Kto
from luthier.objectives.orpo import Orpo
from luthier.objectives.reference import CachedReference, Reference
from luthier.objectives.simpo import Simpo
from luthier.training.ranks import Ranks
from luthier.training.step import accumulate_gradients, validate
from tests.parity.preference_rows import labelled_trees, pair_trees, random_pairs
from tests.parity.test_sft import FP32, assert_same_gradients, make_optimizer, with_lora
from tests.tiny import tiny_model

LABELS = [True, False, True, True, False, False, True, True]
MAKERS: dict[str, Callable[[Reference], Objective]] = {
    "dpo": lambda r: Dpo(r, beta=0.3, sft_weight=0.4),
    "cdpo": lambda r: Dpo(r, loss="cdpo", beta=0.3, label_smoothing=0.2),
    "ipo": lambda r: Dpo(r, loss="ipo", beta=0.3),
    "orpo": lambda _: Orpo(weight=0.3),
    "simpo": lambda _: Simpo(beta=2.0, gamma=0.5),
    "cpo": lambda _: Cpo(beta=0.3),
    "kto": lambda r: Kto(r, beta=0.3, good_weight=1.5),
}


def rows_for(name: str) -> list[Example]:
    pairs = random_pairs(2)
    return labelled_trees(pairs, LABELS) if name == "kto" else pair_trees(pairs)


def step(name: str, batches: list, reference: Reference | None = None) -> tuple[dict, dict[str, torch.Tensor]]:
    model = with_lora("llama", 2)
    scoring = ScoringModel(model, "sdpa").eval()
    optimizer = make_optimizer(model)
    objective = MAKERS[name](reference or LiveReference(scoring))
    logged = accumulate_gradients(scoring, objective, batches, optimizer, placement=FP32, ranks=Ranks())
    return {key: float(value) for key, value in logged.items()}, optimizer.gradients()


@pytest.mark.parametrize("name", MAKERS)
def test_shared_and_packed_equals_unshared_and_alone(name: str) -> None:
    rows = rows_for(name)
    logged, gradients = step(name, [collate(rows)])
    alone, reference = step(name, [collate([unshared(row)]) for row in rows])
    assert logged == pytest.approx(alone, rel=1e-5, abs=1e-6)
    assert_same_gradients(gradients, reference)


@pytest.mark.parametrize("name", MAKERS)
def test_eight_at_once_equals_one_at_a_time(name: str) -> None:
    rows = rows_for(name)
    assert len(rows) == 8
    whole, whole_gradients = step(name, [collate(rows)])
    for batches in (
        [collate([row]) for row in rows],
        [collate([rows[i] for i in bin_]) for bin_ in pack([row.num_tokens for row in rows], 40)],
        [collate(rows), collate(rows[:1]).without_weight()],
    ):
        logged, gradients = step(name, batches)
        assert logged == pytest.approx(whole, rel=1e-5, abs=1e-6)
        assert_same_gradients(gradients, whole_gradients)


@pytest.mark.parametrize("name", ["dpo", "ipo", "kto"])
def test_cached_reference_equals_live_reference(name: str) -> None:
    rows = rows_for(name)
    live = LiveReference(ScoringModel(with_lora("llama", 2), "sdpa"))
    cached = []
    for row in rows:
        sums = live(collate([row])).tolist()
        cached.append(replace(row, segments=tuple(map(lambda s, x: replace(s, reference=x), row.segments, sums))))
    logged, gradients = step(name, [collate(rows)])
    from_cache, cached_gradients = step(name, [collate(cached)], CachedReference())
    assert from_cache == pytest.approx(logged, rel=1e-5, abs=1e-6)
    assert_same_gradients(cached_gradients, gradients)


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_pairs_that_begin_alike_share_their_beginning(name: str) -> None:
    system = list(range(20, 40))
    pairs = [pair._replace(prompt=[*system, *pair.prompt]) for pair in random_pairs(2)]
    pairs[5] = pairs[5]._replace(prompt=pairs[4].prompt)  # two pairs of one prompt
    rows = labelled_trees(pairs, LABELS) if name == "kto" else pair_trees(pairs)
    shared = plan_sharing(rows, budget_tokens=10_000)
    assert len(shared) == 1
    assert shared[0].num_tokens <= sum(row.num_tokens for row in rows) - 7 * 20
    batch = collate(shared)
    assert sorted(row for row in batch.rows if row >= 0) == sorted(row for row in collate(rows).rows if row >= 0)
    logged, gradients = step(name, [batch])
    alone, reference = step(name, [collate([unshared(row)]) for row in rows])
    assert logged == pytest.approx(alone, rel=1e-5, abs=1e-6)
    assert_same_gradients(gradients, reference)


def test_validation_has_the_metrics_of_a_step() -> None:
    rows = rows_for("dpo")
    scoring = ScoringModel(with_lora("llama", 2), "sdpa")
    found = validate(scoring, MAKERS["dpo"](LiveReference(scoring)), [collate(rows)], placement=FP32, ranks=Ranks())
    logged, _ = step("dpo", [collate(rows)])
    loss = logged.pop("loss")
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert dict(found.terms) == pytest.approx(logged, rel=1e-5, abs=1e-6)


def test_metrics_by_hand() -> None:
    """Of one pair, from plain transformers."""
    row = rows_for("dpo")[0]
    model = with_lora("llama", 2)
    chosen, rejected = (branch.segments[0] for branch in separate(row))
    prompt = len(row.segments[0].ids)

    def logprob(ids: torch.Tensor) -> float:
        logp = model(input_ids=ids[None], use_cache=False).logits[0, :-1].log_softmax(-1)
        return float(logp.gather(1, ids[1:, None])[prompt - 1 :].sum())

    with torch.no_grad():
        sides = [torch.from_numpy(s.ids).long() for s in (chosen, rejected)]
        policy = [logprob(ids) for ids in sides]
        with model.disable_adapter():
            base = [logprob(ids) for ids in sides]
    ratios = [p - b for p, b in zip(policy, base, strict=True)]
    logged, _ = step("dpo", [collate([row])])
    lengths = [len(s.ids) - prompt for s in (chosen, rejected)]
    assert logged["rewards_chosen"] == pytest.approx(0.3 * ratios[0], rel=1e-4)
    assert logged["rewards_rejected"] == pytest.approx(0.3 * ratios[1], rel=1e-4)
    assert logged["reward_margin"] == pytest.approx(0.3 * (ratios[0] - ratios[1]), rel=1e-4)
    assert logged["reward_accuracy"] == float(ratios[0] > ratios[1])
    assert logged["length_difference"] == lengths[0] - lengths[1]
    assert logged["chosen_logprob"] == pytest.approx(policy[0] / lengths[0], rel=1e-4)
    assert logged["kl_to_reference"] == pytest.approx((ratios[0] ** 2 + ratios[1] ** 2) / 4, rel=1e-3)


def test_a_reference_that_is_the_trained_model_is_refused() -> None:
    scoring = ScoringModel(train_all(tiny_model("llama"), torch.float32), "sdpa")
    with pytest.raises(ModelError, match="reference is the very model that is trained"):
        LiveReference(scoring)
    batch = collate(rows_for("dpo"))
    before = LiveReference(frozen_copy(scoring))(batch)
    with torch.no_grad():
        for parameter in scoring.parameters():
            parameter.add_(0.01)
    copied = frozen_copy(scoring)
    assert not torch.allclose(LiveReference(copied)(batch), before), "the copy is of what the model is now"


def test_the_adapter_is_on_again_and_still_trained() -> None:
    model = with_lora("llama", 2)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    scoring = ScoringModel(model, "sdpa").train()
    batch = collate(rows_for("dpo"))
    with torch.no_grad():
        policy = MAKERS["simpo"](LiveReference(scoring)).loss(scoring, batch).terms["preference"].total
        reference = LiveReference(scoring)(batch)
        again = MAKERS["simpo"](LiveReference(scoring)).loss(scoring, batch).terms["preference"].total
    assert policy == again
    assert scoring.training
    assert reference.shape == (len(batch.rows),)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == trained
