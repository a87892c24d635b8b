"""Prompt, retrieve, fine-tune, or both: rules say what speaks for each, this file weighs them.

Retrieval follows from needing knowledge. Training follows from a need that a prompt does not meet, or from enough examples
where prompting was tried; and from neither where something forbids it: too few examples, prompting not tried, or a prompt that
suffices (unless volume makes that prompt too dear).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from luthier.advise.rules import Rule, Statement, fired, state
from luthier.advise.situation import Situation

Verdict = Literal["prompt", "rag", "fine-tune", "rag and fine-tune"]
TITLES: dict[Verdict, str] = {
    "prompt": "Prompt engineering",
    "rag": "Retrieval (RAG)",
    "fine-tune": "Fine-tuning",
    "rag and fine-tune": "Retrieval and fine-tuning together",
}


@dataclass(frozen=True)
class Decision:
    """A verdict with everything that speaks for and against it.

    Attributes:
        statements: The verdict's own sentence, what calls for retrieval, flags, what was measured, what is not known.
        blocked_by: Rules that forbid training for now.
    """

    verdict: Verdict
    statements: tuple[Statement, ...]
    blocked_by: tuple[str, ...]

    @property
    def tunes(self) -> bool:
        """Whether training is part of it."""
        return self.verdict in ("fine-tune", "rag and fine-tune")

    @property
    def retrieves(self) -> bool:
        """Whether retrieval is part of it."""
        return self.verdict in ("rag", "rag and fine-tune")

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"verdict": self.verdict, "title": TITLES[self.verdict], "blocked_by": list(self.blocked_by)}


def decide(situation: Situation) -> Decision:
    """Weigh what is known."""
    facts = situation.facts()
    rules = [rule for part in ("tree", "green", "red", "ask", "measure") for rule in fired(part, facts)]
    retrieval = any(rule.effect == "retrieve" for rule in rules)
    blocks = _blocks(rules)
    tuning = not blocks and _is_wanted(rules, situation)
    verdict = _verdict(retrieval, tuning)
    (conclusion,) = fired_conclusion(facts, retrieval, tuning)
    ordered = [conclusion, *rules]
    return Decision(verdict, tuple(state(rule, facts) for rule in ordered), tuple(rule.id for rule in blocks))


def fired_conclusion(facts: dict[str, Any], retrieval: bool, tuning: bool) -> list[Rule]:
    """The one rule that puts the verdict into words."""
    wider = {"retrieval": retrieval, "tuning": tuning}
    return [rule for rule in fired("tree", {**facts, **wider}) if "retrieval" in rule.when]


def _blocks(rules: list[Rule]) -> list[Rule]:
    lifted = any(rule.effect == "lift" for rule in rules)
    return [rule for rule in rules if rule.effect == "block" and not (lifted and rule.id == "red.base-already-good")]


def _is_wanted(rules: list[Rule], situation: Situation) -> bool:
    effects = {rule.effect for rule in rules}
    if effects & {"need", "lift"}:
        return True
    # Examples alone are a reason only where prompting was tried, or where text or pairs cannot be put into a prompt.
    unknown = "block_support" in effects and situation.kind not in ("text", "preference", "kto")
    return "support" in effects and not unknown


def _verdict(retrieval: bool, tuning: bool) -> Verdict:
    if retrieval:
        return "rag and fine-tune" if tuning else "rag"
    return "fine-tune" if tuning else "prompt"
