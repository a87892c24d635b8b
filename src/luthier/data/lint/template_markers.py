"""Finds: control tokens and markers of chat templates typed in text (``<|im_start|>``, ``[INST]``, ``### Response:``).

Hurts: the row was put through a template already, or pasted from a log. Rendered once more it
holds two conversations in one turn.
Do: give plain messages; Luthier applies the model's own template.
"""

from __future__ import annotations

import re

from luthier.data.lint.row import LintRow
from luthier.data.lint.rule import RowRule, Rule, around

MARKER = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|end_of_text|begin_of_text|start_header_id|end_header_id|eot_id|eom_id|end|user|"
    r"assistant|system|endofprompt|start|channel|message|return|end_of_role|start_of_role|END_OF_TURN_TOKEN|"
    r"START_OF_TURN_TOKEN)\|>"
    r"|</?s>(?=\s|\[|<|\Z)|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<｜[^｜<>]{2,30}｜>|\[/?(?:AVAILABLE_TOOLS|TOOL_RESULTS)\]"
    r"|^### ?(?:Instruction|Response|Human|Assistant|User|Input):"
    r"|^(?:Human|Assistant|USER|ASSISTANT): .*\n+(?:Human|Assistant|USER|ASSISTANT):",
    re.MULTILINE,
)


def _judge(row: LintRow) -> str | None:
    for text in row.texts:
        if ("<" in text or "[" in text or ": " in text or "###" in text) and (found := find_marker(text)):
            return around(text, *found)
    return None


def find_marker(text: str) -> tuple[int, int] | None:
    """Where the first marker stands."""
    found = MARKER.search(text)
    return found.span() if found else None


RULE: Rule = RowRule(
    name="template_markers",
    severity="warning",
    looks_at="all texts",
    judge=_judge,
    says="{rows} {contain} markers of a chat template as text: they look as if a template had been applied already.",
    fix="Give plain messages; the model's own template is applied by Luthier.",
)
