"""All rules, by name, in the order in which their findings are shown (within one severity); what each is for, in words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from luthier.data.lint import (
    answer_length,
    boilerplate,
    class_imbalance,
    conflicting_answers,
    conflicting_labels,
    conflicting_preferences,
    contamination,
    control_characters,
    diversity,
    duplicate_rows,
    echoed_prompt,
    empty_answer,
    few_rows,
    html_remnants,
    identical_pair,
    language_mix,
    length_bias,
    mixed_formats,
    mojibake,
    names,
    near_duplicates,
    personal_data,
    possible_secrets,
    prompt_differs,
    role_order,
    secrets,
    swapped_pair,
    system_prompts,
    template_markers,
    template_refuses,
    thinking,
    tokenizer,
    tool_calls,
    truncated_answers,
)
from luthier.data.lint.row import ALL_KINDS
from luthier.data.lint.rule import Given, NeedyRule, Rule
from luthier.errors import InputError

_MODULES = (
    few_rows,
    contamination,
    secrets,
    possible_secrets,
    personal_data,
    names,
    tokenizer,
    template_refuses,
    thinking,
    tool_calls,
    role_order,
    system_prompts,
    empty_answer,
    truncated_answers,
    echoed_prompt,
    boilerplate,
    template_markers,
    html_remnants,
    mojibake,
    control_characters,
    duplicate_rows,
    near_duplicates,
    conflicting_answers,
    conflicting_labels,
    conflicting_preferences,
    identical_pair,
    prompt_differs,
    swapped_pair,
    length_bias,
    class_imbalance,
    mixed_formats,
    answer_length,
    language_mix,
    diversity,
)
RULES: dict[str, Rule] = {module.RULE.name: module.RULE for module in _MODULES}
_SECTIONS = re.compile(
    r"Finds: (?P<finds>.+?)\n+Hurts: (?P<hurts>.+?)\nDo: (?P<do>.+?)(?:\n\n(?P<more>.+))?\Z", re.DOTALL
)
_KIND_ORDER = ("chat", "text", "preference", "kto", "classification")


@dataclass(frozen=True)
class RuleWords:
    """A rule, explained.

    Attributes:
        name: As in ``--rule``.
        severity: Of its findings, as a rule.
        kinds: Of rows that it is asked about; all where it is empty.
        needs: What it needs beside the rows, and how to give it; empty for most.
        finds: What it finds.
        hurts: Why that matters in training.
        do: What to do about it.
        more: How exactly it looks.
    """

    name: str
    severity: str
    kinds: tuple[str, ...]
    needs: str
    finds: str
    hurts: str
    do: str
    more: str


def describe_rules() -> list[RuleWords]:
    """What every rule is for, from the opening of its file."""
    return [_describe(module.RULE, module.__doc__ or "") for module in _MODULES]


def _describe(rule: Rule, opening: str) -> RuleWords:
    sections = _SECTIONS.search(opening.strip())
    assert sections is not None, f"the file of {rule.name} does not say what it finds, why it hurts and what to do"
    parts = {name: " ".join((text or "").replace("``", "").split()) for name, text in sections.groupdict().items()}
    kinds = () if rule.kinds == ALL_KINDS else tuple(kind for kind in _KIND_ORDER if kind in rule.kinds)
    return RuleWords(rule.name, rule.severity, kinds, rule.needs if isinstance(rule, NeedyRule) else "", **parts)


class NotRun(NamedTuple):
    """A rule that was not asked, and why."""

    rule: str
    reason: str


class Choice(NamedTuple):
    """The rules to ask, and those that cannot be asked."""

    rules: list[Rule]
    not_run: list[NotRun]


def require_rules(names: Sequence[str]) -> None:
    """Refuse names of rules that do not exist.

    Raises:
        InputError: With the name that was meant, as far as can be told.
    """
    for name in names:
        if name not in RULES:
            near = difflib.get_close_matches(name, RULES, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Rules: {', '.join(RULES)}."
            raise InputError(f"There is no rule '{name}'. {hint}")


def choose_rules(names: Sequence[str] | None = None, skip: Sequence[str] = (), given: Given | None = None) -> Choice:
    """The rules named, or all, without those to skip; each with what it needs.

    Raises:
        InputError: There is no such rule, or one that is named needs something that is not given.
    """
    require_rules([*(names or ()), *skip])
    choice = Choice([], [])
    for name in dict.fromkeys(names or RULES):
        rule: Rule | None = RULES[name]
        if name in skip:
            choice.not_run.append(NotRun(name, "skipped"))
            continue
        if isinstance(rule, NeedyRule):
            needs = rule.needs
            rule = rule.equip(given or Given())
            if rule is None and names:
                raise InputError(f"The rule '{name}' needs {needs}.")
            if rule is None:
                choice.not_run.append(NotRun(name, f"needs {needs}"))
        if rule is not None:
            choice.rules.append(rule)
    return choice
