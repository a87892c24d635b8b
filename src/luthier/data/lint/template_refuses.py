"""Finds: rows that the model's chat template refuses: roles that do not alternate, tool calls that it cannot show.

Hurts: training stops there; tools that go on instead train on something else than the model will be asked with.
Do: repair the rows (``role_order`` says how), or choose another template.

A sample of at most 500 rows is rendered.
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

_MOST_RENDERED = 500


class TemplateRefuses(NeedyRule):
    """The rule."""

    name = "template_refuses"
    severity: Severity = "error"
    kinds: Kinds = SPOKEN
    looks_at = "whether the chat template takes the rows"
    needs = "a tokenizer with its chat template (--tokenizer MODEL_OR_FOLDER)"

    def __init__(self, template: ChatTemplate | None = None) -> None:
        self._template = template

    def equip(self, given: Given) -> TemplateRefuses | None:
        """With a chat template."""
        return TemplateRefuses(given.template) if given.template is not None else None

    def start(self) -> _Refused:
        """A fresh pass."""
        assert self._template is not None
        return _Refused(self, self._template)


class _Refused:
    def __init__(self, rule: Rule, template: ChatTemplate) -> None:
        self._rule, self._template = rule, template
        self._sample: HashSample[tuple[int, Conversation]] = HashSample(_MOST_RENDERED)

    def see(self, row: LintRow) -> None:
        # An answer labelled bad has no learnt turn; its prompt is like the others'.
        if row.answers and isinstance(row.spoken, Conversation) and self._sample.wants(row.content_hash):
            self._sample.add(row.content_hash, (row.number, row.spoken))

    def findings(self, places: Places) -> Iterable[Finding]:
        sampled = self._sample.values()
        encoded = self._template.encode_rows([conversation for _, conversation in sampled])
        refused = {
            number: str(result).removeprefix(f"{conversation.source}: ")
            for (number, conversation), result in zip(sampled, encoded, strict=True)
            if isinstance(result, DataError)
        }
        if refused:
            rows = sorted(refused)
            yield finding(
                self._rule,
                places.first(rows),
                len(rows),
                f"The chat template refuses {len(rows):,} of {len(sampled):,} rows looked at: training would stop "
                "there.",
                "Repair the rows, or choose another template (model.chat_template).",
                refused[rows[0]],
            )


RULE: Rule = TemplateRefuses()
