"""Finds: thinking that the chat template deletes: blocks that are in the rows and not in what is trained.

Hurts: the model is trained to give the answer without the reasoning that led to it, and the tokens that you paid for are
gone. R1's template deletes thinking in every turn; Qwen 3's in all turns but the last: Luthier learns each turn as it is
generated and so keeps those, most other trainers do not.
Do: choose a template that shows thinking (model.chat_template), or write it into the answer.

A sample of at most 200 rows with thinking is rendered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from luthier.data.hash_sample import HashSample
from luthier.data.lint.row import SPOKEN, Kinds, LintRow
from luthier.data.lint.rule import Given, NeedyRule, Places, Rule, finding
from luthier.errors import DataError
from luthier.types import Conversation, Finding, Severity

if TYPE_CHECKING:
    from luthier.data.template import ChatTemplate

_MOST_RENDERED = 200


class Thinking(NeedyRule):
    """The rule."""

    name = "thinking"
    severity: Severity = "warning"
    kinds: Kinds = SPOKEN
    looks_at = "reasoning, against what the chat template shows of it"
    needs = "a tokenizer with its chat template (--tokenizer MODEL_OR_FOLDER)"

    def __init__(self, template: ChatTemplate | None = None) -> None:
        self._template = template

    def equip(self, given: Given) -> Thinking | None:
        """With a chat template."""
        return Thinking(given.template) if given.template is not None else None

    def start(self) -> _Thoughts:
        """A fresh pass."""
        assert self._template is not None
        return _Thoughts(self, self._template)


class _Thoughts:
    def __init__(self, rule: Rule, template: ChatTemplate) -> None:
        self._rule, self._template = rule, template
        self._sample: HashSample[tuple[int, Conversation]] = HashSample(_MOST_RENDERED)
        self._count = 0

    def see(self, row: LintRow) -> None:
        if not any(m.thinking or "<think>" in m.content for m in row.messages):
            return
        self._count += 1
        if isinstance(row.spoken, Conversation) and self._sample.wants(row.content_hash):
            self._sample.add(row.content_hash, (row.number, row.spoken))

    def findings(self, places: Places) -> Iterable[Finding]:
        deleted: dict[int, int] = {}
        past: dict[int, int] = {}
        num_rendered = 0
        for number, conversation in self._sample.values():
            try:
                lost = self._template.num_thinking_tokens_lost(conversation, by_turn=True)
                lost_whole = lost or self._template.num_thinking_tokens_lost(conversation)
            except DataError:  # another rule's matter: the template refuses the row
                continue
            num_rendered += 1
            if lost:
                deleted[number] = lost
            elif lost_whole:
                past[number] = lost_whole
        with_thinking = f"{num_rendered:,} rows looked at of {self._count:,} that have thinking"
        if deleted:
            yield finding(
                self._rule,
                places.first(sorted(deleted)),
                len(deleted),
                f"The chat template deletes thinking from {len(deleted):,} of {with_thinking} "
                f"({sum(deleted.values()):,} tokens): it is not learnt.",
                "Choose a template that shows it (model.chat_template), or write it into the answer.",
            )
        if past:
            yield finding(
                self._rule,
                places.first(sorted(past)),
                len(past),
                f"The chat template deletes the thinking of earlier turns in {len(past):,} of {with_thinking} "
                f"({sum(past.values()):,} tokens). Luthier learns each turn as it is generated, with its thinking, "
                "which takes "
                "longer; other trainers lose it.",
                "Nothing is to do in Luthier; elsewhere cut each row after the turn that is to be learnt.",
                severity="note",
            )


RULE: Rule = Thinking()
