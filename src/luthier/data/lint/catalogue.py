"""All rules, by name, in the order in which their findings are shown (within one severity)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from luthier.data.lint import (
    answer_length,
    boilerplate,
    class_imbalance,
    conflicting_answers,
    control_characters,
    duplicate_rows,
    echoed_prompt,
    empty_answer,
    few_rows,
    html_remnants,
    language_mix,
    mixed_formats,
    mojibake,
    near_duplicates,
    personal_data,
    possible_secrets,
    role_order,
    secrets,
    system_prompts,
    template_markers,
    tool_calls,
    truncated_answers,
)
from luthier.data.lint.rule import Rule
from luthier.errors import InputError

RULES: dict[str, Rule] = {
    module.RULE.name: module.RULE
    for module in (
        few_rows,
        secrets,
        possible_secrets,
        personal_data,
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
        class_imbalance,
        mixed_formats,
        answer_length,
        language_mix,
    )
}


def choose_rules(names: Sequence[str] | None = None) -> list[Rule]:
    """The rules named, or all.

    Raises:
        InputError: There is no such rule.
    """
    if not names:
        return list(RULES.values())
    for name in names:
        if name not in RULES:
            near = difflib.get_close_matches(name, RULES, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Rules: {', '.join(RULES)}."
            raise InputError(f"There is no rule '{name}'. {hint}")
    return [RULES[name] for name in dict.fromkeys(names)]
