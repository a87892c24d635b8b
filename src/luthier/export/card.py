"""README.md of an export: what the model is, what it learnt from, what was measured and checked, what it is not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.export.format import FormatPlan, Usage
from luthier.export.subject import Subject
from luthier.types import Check


def model_card(
    subject: Subject, plan: FormatPlan, checks: Sequence[Check], sentences: Sequence[str], usage: Usage
) -> str:
    """Markdown with the hub's front matter."""
    facts = subject.card
    parts = [
        _front_matter(facts),
        f"# {subject.name}",
        f"{facts['summary']} This folder: {plan.format}" + ("." if plan.type == "own" else f", {plan.type}."),
        "## Use it",
        f"```\n{usage.text or usage.command}\n```",
        *usage.notes,
        _contract_words(subject),
        "## What it learnt from",
        facts["data"],
        "## How it was trained",
        facts["training"],
    ]
    if facts.get("evaluation"):
        parts += ["## What was measured", facts["evaluation"]]
    parts += ["## What was checked", _check_table(checks) if checks else "Nothing: it was exported with --no-verify."]
    parts += [f"- {sentence}" for sentence in sentences]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in facts["limits"])]
    parts += ["## Licence", facts["licence_words"]]
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: Mapping[str, Any]) -> str:
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if facts.get("licence"):
        lines.append(f"license: {str(facts['licence']).lower()}")
    if facts.get("base_hub"):
        lines.append(f"base_model: {json.dumps(facts['base_hub'])}")
    return "\n".join([*lines, "tags: [luthier]", "---"])


def _contract_words(subject: Subject) -> str:
    contract = subject.contract
    stops = ", ".join(
        f"`{token}` ({i})" for token, i in zip(contract.stop_tokens, contract.stop_token_ids, strict=True)
    )
    system = "none" if contract.system_prompt is None else f"`{contract.system_prompt}`"
    sampling = (
        "greedy" if contract.temperature == 0 else f"temperature {contract.temperature:g}, top-p {contract.top_p:g}"
    )
    return (
        f"It was trained to be asked in one way, which is part of the files: its chat template; system prompt: {system}; answers "
        f"end at {stops}; sampling: {sampling}."
    )


def _check_table(checks: Sequence[Check]) -> str:
    rows = ["| claim | measured | limit | |", "|---|---|---|---|"]
    for check in checks:
        unit = f" {check.unit}" if check.unit else ""
        cells = [check.claim, f"{check.measured}{unit}", f"{check.limit}{unit}", "passed" if check.passed else "FAILED"]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)
