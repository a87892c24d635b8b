"""Situations from the literature against the verdicts, and every rule reached by one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from luthier.advise.decision import decide
from luthier.advise.method import choose_method
from luthier.advise.rules import PARTS, fired, load_rules, state
from luthier.advise.situation import Situation

SITUATIONS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "situations.yaml").read_text(encoding="utf-8")
)
BASES: list[dict[str, Any]] = [
    {"model_choice": "given", "model": "m", "device": "T4"},
    {"model_choice": "none", "filters": "", "device": "T4", "wants_small": True},
    {
        "model_choice": "largest", "model": "m", "size": "1B", "filters": "", "device": "T4", "strengths": "chat",
        "licence": "MIT",
    },
]  # fmt: skip


def reached(case: dict[str, Any]) -> set[str]:
    """Rules that a situation makes speak."""
    situation = Situation(**case["said"])
    decision = decide(situation)
    rules = {statement.rule for statement in decision.statements}
    if decision.tunes:
        method = choose_method({**situation.facts(), **case.get("card", {})}, decision)
        rules |= {statement.rule for statement in method.statements}
    return rules


def test_there_are_enough_situations() -> None:
    assert len(SITUATIONS) >= 40
    assert {case["verdict"] for case in SITUATIONS} == {"prompt", "rag", "fine-tune", "rag and fine-tune"}


@pytest.mark.parametrize("case", SITUATIONS, ids=lambda case: case["about"][:60])
def test_verdict(case: dict[str, Any]) -> None:
    situation = Situation(**case["said"])
    decision = decide(situation)
    assert decision.verdict == case["verdict"]
    rules = reached(case)
    assert set(case.get("rules", ())) <= rules
    assert not set(case.get("not_rules", ())) & rules
    if decision.tunes:
        method = choose_method({**situation.facts(), **case.get("card", {})}, decision)
        if "stages" in case:
            assert [stage.method for stage in method.stages] == case["stages"]
        if "parameters" in case:
            assert method.parameters == case["parameters"]
        values = {setting.name: setting.value for setting in method.settings}
        assert len(values) == len(method.settings), "two rules set one value"
        assert values | case.get("set", {}) == values


def test_every_rule_is_reached() -> None:
    seen = set[str]().union(*(reached(case) for case in SITUATIONS))
    for facts in BASES:
        seen |= {state(rule, facts).rule for rule in fired("model", facts)}
    assert {rule.id for rule in load_rules()} - seen == set()


def test_every_rule_has_a_source_and_a_part() -> None:
    rules = load_rules()
    assert len({rule.id for rule in rules}) == len(rules)
    assert all(rule.source and rule.says and rule.part in PARTS for rule in rules)


def test_only_what_a_recipe_can_say_is_called_available() -> None:
    pairs = Situation(kind="preference", rows=5000)
    method = choose_method(pairs.facts(), decide(pairs))
    sft, dpo = method.stages
    assert sft.missing == ""
    from luthier.config.load import load_recipe
    from luthier.errors import RecipeError

    minimal = {"model": {"name": "m"}, "data": {"train": "x"}, "run": {"name": "x"}, "objective": {"name": "dpo"}}
    try:
        load_recipe(minimal)
        is_there = True
    except RecipeError:
        is_there = False
    assert (dpo.missing == "") is is_there


def test_unknown_facts_meet_no_condition_by_themselves() -> None:
    ids = {rule.id for part in ("green", "red") for rule in fired(part, {})}
    assert ids == set()
