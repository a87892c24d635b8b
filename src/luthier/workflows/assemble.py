"""From a recipe to the parts of a training: the only place where config sections meet builders.

Three steps, cheap before dear, so that bad input fails before weights are read: `read_inputs` (model config, tokenizer,
template, data), `build_model` (weights, adapter), `build_trainee` (optimiser, feed, objective).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase

from luthier.accel.attention import choose_route
from luthier.accel.checkpointing import keep
from luthier.accel.cpu_allocator import keep_freed_memory
from luthier.accel.lora_linear import FusedLoraLinear
from luthier.accel.registry import AppliedPatches, Patch
from luthier.accel.rms_norm import FusedRmsNorm
from luthier.accel.scored_rows import ScoredRows
from luthier.accel.scorer import ScoringModel
from luthier.accel.swiglu import FusedSwiglu
from luthier.config import Recipe
from luthier.config.adapter import LoraSection
from luthier.config.objective import DpoSection, KtoSection
from luthier.data.order import steps_per_epoch, total_steps
from luthier.data.prepare import PreparedData, prepare
from luthier.data.template import ChatTemplate
from luthier.errors import InputError
from luthier.models.adapters import add_tokens, has_dropout, trained_parameters
from luthier.models.contract import InferenceContract
from luthier.models.fingerprint import fingerprint
from luthier.models.load import (
    ModelSource,
    find_model,
    generation_eos_ids,
    load_config,
    load_tokenizer,
)
from luthier.models.placement import Placement, place
from luthier.plan.job import BUDGET_TOKENS
from luthier.plan.policy import CheckpointPolicy
from luthier.reporter import Reporter, Silent
from luthier.training.embedding_noise import EmbeddingNoise
from luthier.training.feed import Feed
from luthier.training.loop import Rhythm, Trainee
from luthier.training.loss_scale import LossScale
from luthier.training.ranks import Ranks
from luthier.training.schedule import learning_rate, warmup_steps
from luthier.workflows.build_objective import build_objective, overlap_tokens, rows_needed
from luthier.workflows.build_optimizer import build_optimizer, refuse_optimizer
from luthier.workflows.parametrise import load_base, parametrise, token_ids
from luthier.workflows.reference_logprobs import Beginning, Sides, require_live_reference, with_reference

SPEEDUPS: dict[str, Patch] = {
    "lora-linear": FusedLoraLinear(),
    "rms-norm": FusedRmsNorm(),
    "swiglu": FusedSwiglu(),
    "scored-rows": ScoredRows(),
}
"""By the name that `train.speedups` uses, in the order of application."""

LEAST_EVALUATIONS = 5


@dataclass(frozen=True)
class Inputs:
    """Everything that is known before weights are read; `recipe` is resolved (no computed default is None)."""

    recipe: Recipe
    ranks: Ranks
    placement: Placement
    source: ModelSource
    model_config: Any
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate
    contract: InferenceContract
    data: PreparedData
    total_steps: int


@dataclass(frozen=True)
class BuiltModel:
    """The model with what is trained on it.

    Attributes:
        route_reason: How attention runs, and why.
        speedups: Names of the speed-ups in force.
        left_out: Why the others are not, by name.
    """

    scoring: ScoringModel
    route_reason: str
    speedups: tuple[str, ...]
    left_out: Mapping[str, str]

    @property
    def model(self) -> torch.nn.Module:
        """The transformers or PEFT model."""
        return self.scoring.model


def read_inputs(recipe: Recipe, reporter: Reporter) -> Inputs:
    """Model config, tokenizer, chat template and tokenised data; no weights."""
    ranks = Ranks.from_environment(cpu=recipe.train.device == "cpu" or not torch.cuda.is_available())
    if recipe.train.num_threads is not None:
        torch.set_num_threads(recipe.train.num_threads)
    placement = place(recipe.train.device, recipe.precision.compute, ranks.local_rank)
    source = find_model(recipe.model.name, recipe.model.revision, reporter)
    model_config = load_config(source)
    choose_route(recipe.model.attention, model_config, placement.device)
    tokenizer = load_tokenizer(source)
    template = ChatTemplate.from_tokenizer(
        tokenizer, template=recipe.model.chat_template, system_prompt=recipe.data.system_prompt
    )
    tokenizer.chat_template = template.template  # what is saved with the result is what was trained
    data = prepare(
        recipe.data.train,
        recipe.data.validation,
        template=template,
        fraction=recipe.data.validation_fraction,
        seed=recipe.train.seed,
        format=recipe.data.format,
        columns=recipe.data.columns,
        max_length=recipe.data.max_length,
        model_max_length=model_config.get_text_config().max_position_embeddings,
        overlong=recipe.data.overlong,
        limit=recipe.data.limit,
        rows=rows_needed(recipe.objective),
        overlap_tokens=overlap_tokens(recipe.objective),
        reporter=reporter,
    )
    if recipe.train.early_stopping_patience is not None and not len(data.validation):
        raise InputError(
            "train.early_stopping_patience needs validation rows, and there are none: set data.validation_fraction above 0 "
            "or give data.validation."
        )
    steps = total_steps(
        len(data.train), recipe.train.batch_size, epochs=recipe.train.epochs, max_steps=recipe.train.max_steps
    )
    contract = InferenceContract.from_template(
        template,
        base_model=recipe.model.name,
        generation_eos_ids=generation_eos_ids(source),
        max_new_tokens=recipe.evaluate.max_new_tokens,
    )
    template.stop_ids = contract.stop_ids
    return Inputs(recipe, ranks, placement, source, model_config, tokenizer, template, contract, data, steps)


def build_model(inputs: Inputs) -> BuiltModel:
    """Load the weights, put the adapter beside them (or make all trainable), wrap them for scoring."""
    recipe, placement = inputs.recipe, inputs.placement
    if placement.device.type == "cpu":
        keep_freed_memory()
    chatml = inputs.template.chatml
    named = recipe.adapter.trainable_tokens if isinstance(recipe.adapter, LoraSection) else ()
    ids = {*token_ids(inputs.tokenizer, named), *(chatml.trainable_ids if chatml is not None else ())}
    refuse_optimizer(recipe, placement)
    model = load_base(recipe, inputs.source, placement)
    if chatml is not None:
        add_tokens(model, inputs.tokenizer, chatml.new_tokens)
    trained = parametrise(
        recipe, model, source=inputs.source, placement=placement, trainable_token_ids=tuple(sorted(ids))
    )
    route, reason = choose_route(recipe.model.attention, inputs.model_config, placement.device)
    speedups, left_out = apply_speedups(trained, recipe.train.speedups)
    keep(trained, policy_asked_for(inputs))
    return BuiltModel(ScoringModel(trained, route), f"{route} ({reason})", speedups, left_out)


def policy_asked_for(inputs: Inputs) -> CheckpointPolicy:
    """What the recipe says; keep everything where it leaves the choice."""
    num_layers = inputs.model_config.get_text_config().num_hidden_layers
    recompute = inputs.recipe.train.gradient_checkpointing is True
    return CheckpointPolicy.recompute_all(num_layers) if recompute else CheckpointPolicy.keep_all(num_layers)


def apply_speedups(
    model: torch.nn.Module, wish: Sequence[str] | Literal["auto"]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Put speed-ups on the model: all that apply (auto), or exactly those that are asked for.

    Returns:
        Names in force, and for each of the others the reason why it is not.

    Raises:
        ModelError: One that was asked for by name does not apply.
    """
    verdicts = {name: patch.applies_to(model) for name, patch in SPEEDUPS.items()}
    chosen = [name for name, verdict in verdicts.items() if verdict.yes] if wish == "auto" else list(wish)
    AppliedPatches(model).apply([SPEEDUPS[name] for name in chosen])
    left_out = {
        name: "not asked for" if verdict.yes else verdict.reason
        for name, verdict in verdicts.items()
        if name not in chosen
    }
    return tuple(chosen), left_out


def build_trainee(
    inputs: Inputs,
    built: BuiltModel,
    base_fingerprint: str,
    *,
    step_down: Callable[[str], bool] | None = None,
    reporter: Reporter | None = None,
) -> Trainee:
    """Optimiser, data feed, objective and what must not change until a resume.

    Args:
        step_down: What to do when memory runs out; see `Trainee`.
        reporter: Told of what the objective needs beforehand.
    """
    recipe = inputs.recipe
    budget_tokens = recipe.train.micro_batch_tokens or BUDGET_TOKENS[inputs.placement.device.type]
    beginning = Beginning(built.scoring, base_fingerprint, inputs.placement, budget_tokens, inputs.ranks)
    train, validation = rows_with_reference(inputs, beginning, reporter or Silent())
    optimizer = build_optimizer(recipe, built.model, inputs.model_config.get_text_config().num_hidden_layers)
    feed = Feed(
        train=train,
        validation=validation,
        batch_size=recipe.train.batch_size,
        budget_tokens=budget_tokens,
        seed=recipe.train.seed,
        ranks=inputs.ranks,
        share_prefixes=not has_dropout(built.model) and not recipe.train.neftune_alpha,
    )
    if recipe.train.neftune_alpha:
        EmbeddingNoise(recipe.train.neftune_alpha).attach(built.scoring)
    return Trainee(
        model=inputs.ranks.wrap(built.scoring, inputs.placement.device),
        objective=build_objective(recipe.objective, built.scoring, is_full=recipe.is_full),
        optimizer=optimizer,
        feed=feed,
        placement=inputs.placement,
        ranks=inputs.ranks,
        loss_scale=LossScale.for_compute(inputs.placement.compute),
        fingerprints=run_fingerprints(inputs, built, base_fingerprint),
        step_down=step_down,
    )


def rows_with_reference(inputs: Inputs, beginning: Beginning, reporter: Reporter) -> Sides:
    """Training and validation rows, with the reference's log-probabilities where the objective takes them from there."""
    section, sides = inputs.recipe.objective, (inputs.data.train, inputs.data.validation)
    if not isinstance(section, DpoSection | KtoSection):
        return sides
    if section.reference == "live":
        require_live_reference(beginning, inputs.data.train)
        return sides
    rendering = (inputs.template.tokenizer_fingerprint, inputs.template.fingerprint)
    return with_reference(beginning, sides, rendering=rendering, reporter=reporter)


def run_fingerprints(inputs: Inputs, built: BuiltModel, base_fingerprint: str) -> dict[str, str]:
    """What decides the course of a run; a resume refuses if any of it has changed."""
    decisive = inputs.recipe.model_dump(mode="json", include={"objective", "adapter", "precision", "train"})
    neutral = ["num_threads", "checkpoint_every"]
    if inputs.recipe.train.early_stopping_patience is None:
        neutral.append("evaluate_every")  # else it decides where the training stops
    for name in neutral:
        decisive["train"].pop(name)
    trained = trained_parameters(built.model)
    return {
        "training settings": hashlib.blake2b(json.dumps(decisive, sort_keys=True).encode(), digest_size=16).hexdigest(),
        "data": inputs.data.report.fingerprint,
        "chat template": inputs.template.fingerprint,
        "base weights": base_fingerprint,
        "trained tensors": fingerprint({name: torch.empty(0, dtype=p.dtype) for name, p in trained.items()}),
        "number of steps": str(inputs.total_steps),
    }


def rhythm(inputs: Inputs) -> Rhythm:
    """Number of steps, when to validate and save, and the learning rate of each step."""
    train = inputs.recipe.train
    per_epoch = steps_per_epoch(len(inputs.data.train), train.batch_size)
    evaluate_every = train.evaluate_every or max(1, min(per_epoch, inputs.total_steps // LEAST_EVALUATIONS))
    peak, warmup = train.learning_rate, warmup_steps(train.warmup_fraction, inputs.total_steps)
    assert peak is not None, "the recipe is not resolved"
    return Rhythm(
        total_steps=inputs.total_steps,
        evaluate_every=evaluate_every,
        checkpoint_every=train.checkpoint_every or evaluate_every,
        learning_rate=lambda step: learning_rate(
            step, peak=peak, total_steps=inputs.total_steps, warmup_steps=warmup, schedule=train.schedule
        ),
        patience=train.early_stopping_patience,
    )
