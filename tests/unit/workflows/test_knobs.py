"""Every field of a recipe changes something: for each, two values and an effect that differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.accel.checkpointing import decoder_layers
from luthier.config.load import load_recipe, resolve
from luthier.config.problems import leaf_fields
from luthier.config.recipe import Recipe
from luthier.errors import LuthierError
from luthier.reporter import Silent
from luthier.training.loop import Rhythm, Trainee
from luthier.workflows.assemble import BuiltModel, Inputs, build_model, build_trainee, read_inputs, rhythm
from luthier.workflows.before_training import stop_test_requests
from tests.tiny import save_tiny_model, write_chat_rows

pytestmark = pytest.mark.usefixtures("own_cache")


class Parts:
    """What a recipe builds, made when asked for."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.inputs: Inputs = read_inputs(recipe, Silent())
        self._built: BuiltModel | None = None

    @property
    def built(self) -> BuiltModel:
        self._built = self._built or build_model(self.inputs)
        return self._built

    @property
    def trainee(self) -> Trainee:
        return build_trainee(self.inputs, self.built, "")

    @property
    def rhythm(self) -> Rhythm:
        return rhythm(self.inputs)

    def adamw(self, key: str) -> list[Any]:
        optimizer = self.trainee.optimizer
        own = [getattr(group, key, None) for group in optimizer.groups]
        return [*own, getattr(optimizer._moments, f"_{key}", None)]

    def weights(self, part: str) -> float:
        return float(sum(p.float().abs().sum() for n, p in self.built.model.named_parameters() if part in n))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("knobs")
    save_tiny_model(folder / "model")
    write_chat_rows(folder / "rows.jsonl", 40)
    write_chat_rows(folder / "others.jsonl", 24)
    both = [{"text": f"document {i}", "prompt": f"question {i}", "completion": f"answer {i}"} for i in range(20)]
    (folder / "both.jsonl").write_text("".join(json.dumps(row) + "\n" for row in both))
    (folder / "template.jinja").write_text(
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    return folder


def parts(place: Path, changes: dict[str, Any]) -> Parts:
    base: dict[str, Any] = {
        "model.name": str(place / "model"),
        "data.train": str(place / "rows.jsonl"),
        "run.name": "knobs",
        "run.folder": str(place / "runs"),
        "precision.compute": "fp32",
        "train.batch_size": 8,
        "train.device": "cpu",
        **changes,
    }
    sections: dict[str, Any] = {}
    for key, value in base.items():
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = value
    return Parts(resolve(load_recipe(sections)))


LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
Effect = Callable[[Parts], Any]
SIZE: Effect = lambda p: sum(m.numel() for m in p.trainee.optimizer.masters.values())  # noqa: E731
LOSS: Effect = lambda p: float(  # noqa: E731
    next(
        iter(p.trainee.objective.loss(p.built.scoring.train(), p.trainee.feed.step_batches(0)[0]).terms.values())
    ).total
)
TRAINED: Effect = lambda p: p.inputs.data.report.fingerprint  # noqa: E731
KNOBS: dict[str, tuple[dict[str, Any], dict[str, Any], Effect]] = {
    "model.attention": ({}, {"model.attention": "eager"}, lambda p: p.built.scoring.causal_lm.config._attn_implementation),
    "model.chat_template": ({}, {"model.chat_template": "PLACE/template.jinja"}, TRAINED),
    "data.train": ({}, {"data.train": "PLACE/others.jsonl"}, TRAINED),
    "data.validation": ({}, {"data.validation": "PLACE/others.jsonl"}, lambda p: len(p.inputs.data.validation)),
    "data.validation_fraction": ({}, {"data.validation_fraction": 0.5}, lambda p: len(p.inputs.data.validation)),
    "data.format": (
        {"data.train": "PLACE/both.jsonl"}, {"data.train": "PLACE/both.jsonl", "data.format": "text"}, TRAINED,
    ),
    "data.columns": (
        {"data.train": "PLACE/both.jsonl"},
        {"data.train": "PLACE/both.jsonl", "data.columns": {"prompt": "completion", "completion": "prompt"}},
        TRAINED,
    ),
    "data.system_prompt": ({}, {"data.system_prompt": "Be brief."}, TRAINED),
    "data.max_length": ({}, {"data.max_length": 90}, lambda p: len(p.inputs.data.train)),
    "data.overlong": (
        {"data.max_length": 90}, {"data.max_length": 90, "data.overlong": "truncate"}, lambda p: len(p.inputs.data.train),
    ),
    "data.limit": ({}, {"data.limit": 20}, lambda p: len(p.inputs.data.train)),
    "adapter.kind": ({}, {"adapter.kind": "none"}, lambda p: len(p.trainee.optimizer.masters)),
    "adapter.rank": ({}, {"adapter.rank": 4}, lambda p: sum(m.numel() for m in p.trainee.optimizer.masters.values())),
    "adapter.alpha": (
        {}, {"adapter.alpha": 8}, lambda p: p.built.model.get_submodule(LAYER).scaling["default"],
    ),
    "adapter.dropout": ({}, {"adapter.dropout": 0.1}, lambda p: p.trainee.feed.share_prefixes),
    "adapter.layers": ({}, {"adapter.layers": "1-"}, lambda p: len(p.trainee.optimizer.masters)),
    "adapter.rank_pattern": ({}, {"adapter.rank_pattern": {"q_proj": 2}}, lambda p: SIZE(p)),
    "adapter.alpha_pattern": (
        {}, {"adapter.alpha_pattern": {"q_proj": 2}}, lambda p: p.built.model.get_submodule(LAYER).scaling["default"],
    ),
    "adapter.rslora": ({}, {"adapter.rslora": True}, lambda p: p.built.model.get_submodule(LAYER).scaling["default"]),
    "adapter.dora": ({}, {"adapter.dora": True}, lambda p: SIZE(p)),
    "adapter.init": ({}, {"adapter.init": "orthogonal"}, lambda p: p.weights("lora_B")),
    "adapter.loraplus_ratio": ({}, {"adapter.loraplus_ratio": 16}, lambda p: p.adamw("rate_factor")),
    "adapter.trainable_tokens": ({}, {"adapter.trainable_tokens": ["<|im_end|>"]}, lambda p: SIZE(p)),
    "adapter.method": (
        {"adapter.kind": "peft", "adapter.method": "loha", "adapter.target_modules": ["q_proj"]},
        {"adapter.kind": "peft", "adapter.method": "lokr", "adapter.target_modules": ["q_proj"]},
        lambda p: SIZE(p),
    ),
    "adapter.fields": (
        {"adapter.kind": "peft", "adapter.method": "loha", "adapter.target_modules": ["q_proj"]},
        {"adapter.kind": "peft", "adapter.method": "loha", "adapter.target_modules": ["q_proj"], "adapter.fields": {"r": 2}},
        lambda p: SIZE(p),
    ),
    "adapter.freeze": (
        {"adapter.kind": "none"}, {"adapter.kind": "none", "adapter.freeze": ["embed_tokens"]}, lambda p: SIZE(p),
    ),
    "adapter.target_modules": ({}, {"adapter.target_modules": ["q_proj"]}, lambda p: len(p.trainee.optimizer.masters)),
    "precision.base": ({}, {"precision.base": "nf4"}, lambda p: type(p.built.model.get_submodule(LAYER).base_layer)),
    "precision.double_quantization": (
        {"precision.base": "nf4"},
        {"precision.base": "nf4", "precision.double_quantization": False},
        lambda p: p.built.model.get_submodule(LAYER).base_layer.weight.quant_state.nested,
    ),
    "precision.masters": (
        {"precision.compute": "bf16"},
        {"precision.compute": "bf16", "precision.masters": "none"},
        lambda p: {m.dtype for m in p.trainee.optimizer.masters.values()},
    ),
    "precision.compute": ({}, {"precision.compute": "bf16"}, lambda p: next(p.built.model.parameters()).dtype),
    "train.learning_rate": ({}, {"train.learning_rate": 1e-3}, lambda p: p.rhythm.learning_rate(5)),
    "train.epochs": ({}, {"train.epochs": 1}, lambda p: p.rhythm.total_steps),
    "train.max_steps": ({}, {"train.max_steps": 2}, lambda p: p.rhythm.total_steps),
    "train.batch_size": ({}, {"train.batch_size": 4}, lambda p: p.rhythm.total_steps),
    "train.micro_batch_tokens": ({}, {"train.micro_batch_tokens": 64}, lambda p: len(p.trainee.feed.step_batches(0))),
    "train.schedule": ({}, {"train.schedule": "linear"}, lambda p: p.rhythm.learning_rate(9)),
    "train.warmup_fraction": ({}, {"train.warmup_fraction": 0.5}, lambda p: p.rhythm.learning_rate(0)),
    "train.weight_decay": ({}, {"train.weight_decay": 0.2}, lambda p: p.adamw("weight_decay")),
    "train.beta1": ({}, {"train.beta1": 0.5}, lambda p: p.adamw("betas")),
    "train.beta2": ({}, {"train.beta2": 0.5}, lambda p: p.adamw("betas")),
    "train.epsilon": ({}, {"train.epsilon": 1e-3}, lambda p: p.adamw("epsilon")),
    "train.optimizer": (
        {"adapter.kind": "none"},
        {"adapter.kind": "none", "train.optimizer": "adamw-8bit"},
        lambda p: {t.dtype for t in p.trainee.optimizer.state_tensors().values()},
    ),
    "train.layer_rate_decay": ({}, {"train.layer_rate_decay": 0.5}, lambda p: p.adamw("rate_factor")),
    "objective.label_smoothing": (
        {}, {"objective.name": "sft", "objective.label_smoothing": 0.1}, lambda p: LOSS(p),
    ),
    "train.neftune_alpha": ({}, {"train.neftune_alpha": 5}, lambda p: LOSS(p)),
    "train.max_grad_norm": ({}, {"train.max_grad_norm": 0.1}, lambda p: p.trainee.optimizer.max_grad_norm),
    "train.gradient_checkpointing": (
        {}, {"train.gradient_checkpointing": True},
        lambda p: [layer.gradient_checkpointing for layer in decoder_layers(p.built.model)],
    ),
    "train.speedups": ({}, {"train.speedups": ["rms-norm"]}, lambda p: p.built.speedups),
    "train.evaluate_every": ({}, {"train.evaluate_every": 1}, lambda p: p.rhythm.evaluate_every),
    "train.early_stopping_patience": ({}, {"train.early_stopping_patience": 2}, lambda p: p.rhythm.patience),
    "train.checkpoint_every": ({}, {"train.checkpoint_every": 1}, lambda p: p.rhythm.checkpoint_every),
    "train.num_threads": ({"train.num_threads": 1}, {"train.num_threads": 2}, lambda _: torch.get_num_threads()),
    "train.seed": ({}, {"train.seed": 1}, lambda p: p.weights("lora_A")),
    "evaluate.stop_test_rows": ({}, {"evaluate.stop_test_rows": 1}, lambda p: len(stop_test_requests(p.inputs)[0])),
    "evaluate.max_new_tokens": ({}, {"evaluate.max_new_tokens": 300}, lambda p: p.inputs.contract.max_new_tokens),
    "run.folder": ({}, {"run.folder": "PLACE/elsewhere"}, lambda p: p.recipe.run.path),
    "run.name": ({}, {"run.name": "other"}, lambda p: p.recipe.run.path),
}  # fmt: skip

ELSEWHERE = {
    "adapter.merge_first": "tests/unit/workflows/test_parametrise.py",
    "adapter.source": "tests/unit/workflows/test_parametrise.py",
    "model.name": "tests/unit/models/test_load.py",
    "model.revision": "test_a_revision_is_for_hub_models",
    "objective.name": "tests/e2e/test_preference_recipes.py",
    "objective.beta": "tests/unit/workflows/test_build_objective.py",
    "objective.loss": "tests/unit/workflows/test_build_objective.py",
    "objective.gamma": "tests/unit/workflows/test_build_objective.py",
    "objective.good_weight": "tests/unit/workflows/test_build_objective.py",
    "objective.bad_weight": "tests/unit/workflows/test_build_objective.py",
    "objective.sft_weight": "tests/unit/workflows/test_build_objective.py",
    "objective.weight": "tests/unit/workflows/test_build_objective.py",
    "objective.overlap_tokens": "tests/unit/workflows/test_build_objective.py",
    "objective.reference": "tests/e2e/test_preference_recipes.py",
    "train.device": "tests/unit/models/test_placement.py",
    "evaluate.tasks": "tests/e2e/test_train_cli.py",
    "evaluate.sample_prompts": "tests/e2e/test_progress.py",
    "evaluate.batch_size": "tests/parity/test_generate.py",
    "evaluate.general": "tests/e2e/test_general_suite.py",
    "evaluate.forgetting_tolerance": "tests/e2e/test_general_suite.py",
    "evaluate.during": "tests/e2e/test_watched_tasks.py",
    "evaluate.during_rows": "tests/e2e/test_watched_tasks.py",
    "evaluate.best_by": "tests/e2e/test_watched_tasks.py",
    "evaluate.stop_when_forgotten": "tests/e2e/test_watched_tasks.py",
    "run.sinks": "tests/unit/training/test_trackers.py",
}


@pytest.mark.parametrize("name", KNOBS)
def test_a_knob_changes_something(place: Path, name: str) -> None:
    first, second, effect = KNOBS[name]
    changed = [
        {k: v.replace("PLACE", str(place)) if isinstance(v, str) else v for k, v in values.items()}
        for values in (first, second)
    ]
    threads = torch.get_num_threads()
    try:
        assert effect(parts(place, changed[0])) != effect(parts(place, changed[1]))
    finally:
        torch.set_num_threads(threads)


def test_every_field_is_accounted_for() -> None:
    assert set(leaf_fields(Recipe)) == set(KNOBS) | set(ELSEWHERE)


def test_a_revision_is_for_hub_models(place: Path) -> None:
    with pytest.raises(LuthierError, match="only hub models have revisions"):
        parts(place, {"model.revision": "abc"})


def test_micro_batches_and_validation_share_the_budget(place: Path) -> None:
    feed = parts(place, {"train.micro_batch_tokens": 128}).trainee.feed
    assert max(b.num_tokens for b in feed.step_batches(0)) <= 128
    assert max(b.num_tokens for b in feed.validation_batches()) <= 128
