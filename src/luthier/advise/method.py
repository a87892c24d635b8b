"""How to train, once it is decided: stages, which parameters, the settings of the recipe; each from a rule with its source.

Only what a recipe can say today is runnable; the rest is named as what it is, not available yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from luthier.advise.decision import Decision
from luthier.advise.rules import Facts, Rule, Statement, fired, state
from luthier.config.load import load_recipe
from luthier.errors import RecipeError

FIRST_STAGE = "sft"
OBJECTIVES = {"continual pre-training": "pretrain"}
"""Names of `objective` in a recipe, where they are not the method's own."""


@dataclass(frozen=True)
class Stage:
    """One training of several.

    Attributes:
        missing: Why Luthier cannot run it yet; empty where it can.
    """

    method: str
    missing: str


@dataclass(frozen=True)
class Setting:
    """A value of the recipe and the rule that chose it."""

    name: str
    value: Any
    rule: str


@dataclass(frozen=True)
class Method:
    """What to run.

    Attributes:
        parameters: lora, qlora or full; None where nothing fits.
        missing: Why the first stage cannot be run as chosen; empty where it can.
        settings: Of the first stage.
    """

    stages: tuple[Stage, ...]
    parameters: str | None
    missing: str
    settings: tuple[Setting, ...]
    statements: tuple[Statement, ...]

    @property
    def objective(self) -> str:
        """Of the first stage, as a recipe names it."""
        return OBJECTIVES.get(self.stages[0].method, self.stages[0].method)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "stages": [vars(stage) for stage in self.stages],
            "parameters": self.parameters,
            "missing": self.missing,
            "settings": [vars(setting) for setting in self.settings],
        }


def choose_method(facts: Facts, decision: Decision) -> Method:
    """Stages and settings.

    Args:
        facts: Of the situation, and ``fits_lora``, ``fits_qlora``, ``fits_full`` where a card is known.
        decision: Must train.
    """
    assert decision.tunes
    wider: dict[str, Any] = {**facts, "tuning": True, "retrieval": decision.retrieves}
    rules = fired("method", wider)
    stages = tuple(Stage(rule.method, _missing(rule.method)) for rule in rules if rule.method)
    parameters = next((rule.parameters for rule in rules if rule.parameters), None)
    if stages[0].method == FIRST_STAGE and facts.get("kind") not in ("preference", "kto"):
        wider["stage"] = FIRST_STAGE
    wider["parameters"] = parameters
    data, settings = fired("data", wider), fired("setting", wider)
    if parameters is None:
        settings = []
    missing = stages[0].missing or _missing_parameters(parameters, facts)
    return Method(
        stages=stages,
        parameters=parameters,
        missing=missing,
        settings=tuple(_settings(settings)),
        statements=tuple(state(rule, wider) for rule in (*rules, *data, *settings)),
    )


def _settings(rules: list[Rule]) -> list[Setting]:
    return [Setting(name, value, rule.id) for rule in rules for name, value in rule.set.items()]


def _missing(method: str) -> str:
    """Whether a recipe with this objective is a recipe: the recipe's own check decides, not a list that would grow old."""
    objective = OBJECTIVES.get(method, method)
    minimal: Mapping[str, Any] = {
        "model": {"name": "smollm2-135m-instruct"},
        "data": {"train": "rows.jsonl"},
        "run": {"name": "x"},
        "objective": {"name": objective},
    }
    try:
        load_recipe(minimal)
    except RecipeError:
        return f"Luthier's trainer has no {method.upper() if len(method) < 5 else method} yet"
    return ""


def _missing_parameters(parameters: str | None, facts: Facts) -> str:
    if parameters is None:
        return "nothing fits this card"
    if facts.get("kind") in ("preference", "kto"):
        return "a recipe learns from answers, not from pairs or labels, yet; convert the good answers to chats first"
    if facts.get("kind") == "classification":
        return "a recipe learns from answers, not from classes; convert them first: luthier data convert"
    return ""
