"""Finds: phrases by which another model speaks of itself or refuses ("As an AI language model, …").

Hurts: your model learns to present itself as that one, and to refuse what you want it to do.
Do: rewrite or drop the rows; keep refusals only where you want them.
"""

from __future__ import annotations

import re

from luthier.data.lint.row import SPOKEN, LintRow
from luthier.data.lint.rule import RowRule, Rule, around

# Every phrase holds one of these; looking for fixed strings is thirty times faster than the phrases themselves.
_HINTS = (
    *(" ai", "artificial intelligence", "language model", "llm", "cutoff", "cut-off", "training data", "update"),
    *("openai", "anthropic", "google", "meta", "deepseek", "alibaba", "mistral"),
    *("chatgpt", "claude", "gemini", "bard", "qwen", "llama"),
    *("人工智能", "语言模型", "ai语言", "sprachmodell", "modèle de langage", " ia", "lenguaje", "linguistico"),
)
_PHRASES = re.compile(
    r"\b(?:as|i am|i'm|i’m|being) (?:just |only )?(?:an?|your) "
    r"(?:ai\b|artificial intelligence|(?:large |ai )?language model|llm\b)"
    r"|\bi (?:was|am) (?:trained|developed|created|made) by (?:openai|anthropic|google|meta|deepseek|alibaba|mistral)"
    r"|\b(?:i am|i'm|i’m) (?:chatgpt|claude|gemini|bard|qwen|deepseek|llama)\b"
    r"|\b(?:as of )?my (?:last )?(?:knowledge )?(?:cut-?off|training data|last (?:knowledge )?update)\b"
    r"|作为(?:一个|一名|一款)?(?:人工智能|AI|大?型?语言模型)"
    r"|\bals (?:ein )?(?:KI|künstliche Intelligenz)?-?\s?Sprachmodell|\ben tant que (?:modèle de langage|IA)\b"
    r"|\bcomo (?:un )?(?:modelo de lenguaje|una? IA)\b|\bcome (?:un )?modello linguistico",
    re.IGNORECASE,
)


def _judge(row: LintRow) -> str | None:
    for answer in row.answers:
        lower = answer.lower()
        if any(hint in lower for hint in _HINTS) and (found := _PHRASES.search(answer)):
            return around(answer, *found.span())
    return None


RULE: Rule = RowRule(
    name="boilerplate",
    severity="warning",
    kinds=SPOKEN,
    looks_at="answers",
    judge=_judge,
    says="{rows} {have} an answer in which another model speaks of itself; yours learns to present itself as that one.",
    fix="Rewrite or drop them; keep refusals only where you want them.",
)
