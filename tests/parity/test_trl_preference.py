"""Loss and every adapter gradient of the preference objectives equal TRL's on the same rows, fp32, to 1e-5.

Ours are packed into several micro-batches with shared prompts; TRL's are padded and repeat the prompt.
"""

from __future__ import annotations

import copy
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.accel.attention import plain_attention
from luthier.accel.reference import LiveReference
from luthier.accel.scorer import ScoringModel
from luthier.data.collate import collate
from luthier.data.example import Example
from luthier.data.pack import pack
from luthier.models.adapters import trained_parameters
from luthier.objectives.base import Objective
from luthier.objectives.cpo import Cpo
from luthier.objectives.dpo import Dpo
from luthier.objectives.kto import Kto
from luthier.objectives.orpo import Orpo
from luthier.objectives.simpo import Simpo
from luthier.training.ranks import Ranks
from luthier.training.step import accumulate_gradients
from tests.parity.preference_rows import labelled_trees, pair_trees, random_pairs, trl_labelled, trl_pairs
from tests.parity.test_sft import FP32, assert_same_gradients, make_optimizer, with_lora
from tests.tiny import tiny_tokenizer

trl = pytest.importorskip("trl", reason="TRL is a development dependency")
datasets = pytest.importorskip("datasets")

LABELS = [True, False, True, True, False, False, True, False]
BETA = 0.3


class Measured:
    """Loss and gradients of one step."""

    def __init__(self, loss: float, gradients: dict[str, torch.Tensor]) -> None:
        self.loss, self.gradients = float(loss), gradients


def ours(model: torch.nn.Module, make: Any, rows: list[Example]) -> Measured:
    scoring = ScoringModel(model, "sdpa").eval()
    objective: Objective = make(LiveReference(scoring))
    optimizer = make_optimizer(model)
    batches = [collate([rows[i] for i in packed]) for packed in pack([row.num_tokens for row in rows], 45)]
    assert 1 < len(batches) < len(rows)
    logged = accumulate_gradients(scoring, objective, batches, optimizer, placement=FP32, ranks=Ranks())
    return Measured(float(logged["loss"]), optimizer.gradients())


def theirs(model: torch.nn.Module, loss: torch.Tensor) -> Measured:
    loss.backward()
    return Measured(loss.item(), {n: p.grad.clone() for n, p in trained_parameters(model).items()})


def assert_equal(left: Measured, right: Measured) -> None:
    assert left.loss == pytest.approx(right.loss, rel=1e-5)
    assert_same_gradients(left.gradients, right.gradients)


def arguments(config: Any, folder: Path, **settings: Any) -> Any:
    return config(
        output_dir=str(folder), bf16=False, use_cpu=True, report_to="none", gradient_checkpointing=False, **settings
    )


def texts(**columns: Any) -> Any:
    return datasets.Dataset.from_dict({name: [value] * 2 for name, value in columns.items()})


DPO = {
    "sigmoid": {},
    "ipo": {},
    "hinge": {},
    "apo_zero": {},
    "apo_down": {},
    "sigmoid_norm": {},
    "robust": {"label_smoothing": 0.2},
}


@pytest.mark.parametrize("loss", DPO)
def test_dpo(loss: Any, tmp_path: Path) -> None:
    pairs = random_pairs()
    model = with_lora("llama")
    other = copy.deepcopy(model)
    trainer = trl.DPOTrainer(
        other,
        args=arguments(trl.DPOConfig, tmp_path, loss_type=[loss], beta=BETA, **DPO[loss]),
        train_dataset=texts(prompt="a", chosen="b", rejected="c"),
        processing_class=tiny_tokenizer(),
    )
    other.delete_adapter("ref")  # TRL's copy of an adapter that is there already; without it the base is the reference
    with plain_attention(other):
        reference = theirs(other, trainer._compute_loss(other, trainer.data_collator(trl_pairs(pairs)), False))
    assert_equal(ours(model, lambda r: Dpo(r, loss=loss, beta=BETA, **DPO[loss]), pair_trees(pairs)), reference)


def test_dpo_with_imitation(tmp_path: Path) -> None:
    pairs = random_pairs()
    model = with_lora("llama")
    other = copy.deepcopy(model)
    trainer = trl.DPOTrainer(
        other,
        args=arguments(trl.DPOConfig, tmp_path, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.7], beta=BETA),
        train_dataset=texts(prompt="a", chosen="b", rejected="c"),
        processing_class=tiny_tokenizer(),
    )
    other.delete_adapter("ref")  # TRL's copy of an adapter that is there already; without it the base is the reference
    with plain_attention(other):
        reference = theirs(other, trainer._compute_loss(other, trainer.data_collator(trl_pairs(pairs)), False))
    assert_equal(ours(model, lambda r: Dpo(r, beta=BETA, sft_weight=0.7), pair_trees(pairs)), reference)


@pytest.mark.parametrize(("seed", "is_above"), [(2, True), (0, False)])
def test_kto(seed: int, is_above: bool, tmp_path: Path) -> None:
    pairs = random_pairs(seed)
    model = with_lora("llama", seed)
    other = copy.deepcopy(model)
    trainer = trl.KTOTrainer(
        other,
        args=arguments(trl.KTOConfig, tmp_path, beta=BETA, desirable_weight=1.3, undesirable_weight=0.8),
        train_dataset=texts(prompt="a", completion="b", label=True),
        processing_class=tiny_tokenizer(),
    )
    other.delete_adapter("ref")
    with plain_attention(other):
        batch = trainer.data_collator(trl_labelled(pairs, LABELS))
        reference = theirs(other, trainer._compute_loss(other, batch, False))
    assert (trainer._metrics["eval"]["kl"][-1] > 0) == is_above, "once with a reference point above zero, once at it"
    rows = labelled_trees(pairs, LABELS)
    assert_equal(ours(model, lambda r: Kto(r, beta=BETA, good_weight=1.3, bad_weight=0.8), rows), reference)


def contrastive_batch(pairs: list[Any]) -> dict[str, torch.Tensor]:
    """What the collators of the experimental trainers make."""

    def padded(rows: list[list[int]], value: int) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], True, value)

    batch = {}
    for side in ("chosen", "rejected"):
        rows = [pair.prompt + getattr(pair, side) for pair in pairs]
        batch[f"{side}_input_ids"] = padded(rows, 0)
        batch[f"{side}_attention_mask"] = padded([[1] * len(row) for row in rows], 0)
        labels = [[-100] * len(pair.prompt) + getattr(pair, side) for pair in pairs]
        batch[f"{side}_labels"] = padded(labels, -100)
    return batch


def experimental(trainer_class: Any, **settings: Any) -> Any:
    """The trainer without its constructor, which would tokenise texts: only what its loss reads."""
    trainer = trainer_class.__new__(trainer_class)
    gather = types.SimpleNamespace(device=torch.device("cpu"), gather_for_metrics=lambda x: x)
    defaults = {"label_smoothing": 0.0, "alpha": 0.0, "aux_loss_enabled": False, "is_encoder_decoder": False}
    for name, value in {"accelerator": gather, "pad_token_id": 0, **defaults, **settings}.items():
        setattr(trainer, name, value)
    return trainer


@pytest.mark.parametrize("loss", ["sigmoid", "hinge", "simpo"])
def test_cpo_and_simpo(loss: Any) -> None:
    from trl.experimental.cpo import CPOTrainer

    pairs = random_pairs()
    model = with_lora("llama")
    other = copy.deepcopy(model)
    settings = {"loss_type": loss, "beta": BETA, "cpo_alpha": 0.6, "simpo_gamma": 0.5}
    with plain_attention(other):
        trainer = experimental(CPOTrainer, **settings)
        reference = theirs(other, trainer.get_batch_loss_metrics(other, contrastive_batch(pairs))[0])
    make = {
        "sigmoid": lambda _: Cpo(beta=BETA, sft_weight=0.6),
        "hinge": lambda _: Cpo(loss="hinge", beta=BETA, sft_weight=0.6),
        "simpo": lambda _: Simpo(beta=BETA, gamma=0.5, sft_weight=0.6),
    }[loss]
    assert_equal(ours(model, make, pair_trees(pairs)), reference)


def test_orpo() -> None:
    from trl.experimental.orpo import ORPOTrainer

    # TRL imitates the prompt too; of prompts of one token nothing is left to imitate.
    pairs = random_pairs(longest_prompt=1)
    model = with_lora("llama")
    other = copy.deepcopy(model)
    with plain_attention(other):
        trainer = experimental(ORPOTrainer, beta=BETA, padding_value=0)
        reference = theirs(other, trainer.get_batch_loss_metrics(other, contrastive_batch(pairs))[0])
    assert_equal(ours(model, lambda _: Orpo(weight=BETA), pair_trees(pairs)), reference)
