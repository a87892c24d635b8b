"""What in rows and their split a person should know before training. Nothing here stops anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from luthier.data.content import Item, prompt_key
from luthier.data.lint import conflicting_answers, duplicate_rows, empty_answer, few_rows
from luthier.data.lint.rule import look
from luthier.data.split import group_rows
from luthier.types import Conversation, Finding, Source

_LISTED = 10

_LOOKED_AT = 200
"""Rows that are rendered once more to look closer, evenly spread: the cost must not grow with the data."""


class Template(Protocol):
    """The part of `template.ChatTemplate` that is needed here."""

    @property
    def has_markers(self) -> bool:
        """Whether the template says itself what is generated."""
        ...

    def marker_mismatch(self, conversation: Conversation) -> str | None:
        """Why those markers and the mask disagree."""
        ...

    def special_tokens_in_content(self, conversation: Conversation) -> list[str]:
        """Control-token strings in the row's own text."""
        ...

    def num_thinking_tokens_lost(self, conversation: Conversation, *, by_turn: bool = False) -> int:
        """Tokens of reasoning that are not shown."""
        ...


def look_at_rows(items: Sequence[Item]) -> list[Finding]:
    """Too few rows, duplicates, one prompt with several answers, empty answers."""
    rules = (few_rows.RULE, duplicate_rows.RULE, conflicting_answers.RULE, empty_answer.RULE)
    # Between 100 and 500 rows `luthier data check` has a word of advice; a training run that was asked for need not hear it.
    return [f for f in look(rules, items) if f.rule != few_rows.RULE.name or f.severity == "warning"]


def look_at_rendering(items: Sequence[Item], template: Template, num_rewritten: int) -> list[Finding]:
    """What happens to rows on their way through the chat template: typed control tokens, lost thinking, other markers.

    Args:
        items: All rows.
        template: What they are rendered with.
        num_rewritten: Rows that became several examples.
    """
    chats = [item for item in items if isinstance(item, Conversation)]
    found: list[Finding] = []
    if num_rewritten:
        found.append(
            Finding(
                "past_rewritten",
                "note",
                (),
                f"The chat template shows earlier answers otherwise than they are generated (without their thinking): "
                f"{num_rewritten} rows became several examples each, so that every answer is learnt as it is generated.",
                "Nothing is to do; training takes longer by the repeated beginnings.",
            )
        )
    return [*found, *_control_tokens(chats, template), *_lost_thinking(chats, template), *_markers(chats, template)]


def _control_tokens(chats: Sequence[Conversation], template: Template) -> list[Finding]:
    found = [(chat, tokens) for chat in chats if (tokens := template.special_tokens_in_content(chat))]
    if not found:
        return []
    names = list(dict.fromkeys(token for _, tokens in found for token in tokens))
    return [
        Finding(
            "control_tokens_in_text",
            "warning",
            _sources([chat for chat, _ in found]),
            f"{len(found)} of {len(chats)} rows contain strings of control tokens ({', '.join(map(repr, names[:4]))}). They "
            "are learnt as plain text, not as commands.",
            "If the rows were put through a chat template already, give the plain messages instead; else nothing is to do.",
        )
    ]


def _lost_thinking(chats: Sequence[Conversation], template: Template) -> list[Finding]:
    thinking = [chat for chat in chats if any(m.thinking or "<think>" in m.content for m in chat.messages)]
    looked_at = _spread(thinking)
    lost = [(chat, n) for chat in looked_at if (n := template.num_thinking_tokens_lost(chat, by_turn=True))]
    if not lost:
        return []
    return [
        Finding(
            "thinking_lost",
            "warning",
            _sources([chat for chat, _ in lost]),
            f"The chat template leaves reasoning out of {len(lost)} of {len(looked_at)} rows looked at that have some "
            f"({sum(n for _, n in lost)} tokens): the model does not learn it.",
            "Choose a template that shows it (model.chat_template), or write it into the answer.",
        )
    ]


def _markers(chats: Sequence[Conversation], template: Template) -> list[Finding]:
    if not template.has_markers:
        return []
    looked_at = _spread(chats)
    found = [(chat, problem) for chat in looked_at if (problem := template.marker_mismatch(chat))]
    if not found:
        return []
    return [
        Finding(
            "generation_markers_differ",
            "note",
            _sources([chat for chat, _ in found]),
            f"In {len(found)} of {len(looked_at)} rows looked at, {found[0][1]}. What is learnt follows the messages.",
            "Nothing is to do if the model answers as it should; else report it to the template's authors.",
        )
    ]


def _spread(chats: Sequence[Conversation]) -> Sequence[Conversation]:
    """At most `_LOOKED_AT` of them, evenly spread."""
    return chats[:: -(-len(chats) // _LOOKED_AT)] if chats else chats


def look_at_split(
    train: Sequence[Item],
    validation: Sequence[Item],
    fraction: float,
    *,
    num_train: int,
    num_validation: int,
    num_dropped: int,
) -> list[Finding]:
    """Validation rows that training contains, and a validation side that is empty although one was asked for.

    Args:
        train: All rows of the training files.
        validation: All rows of the validation files; none where validation is split off.
        fraction: Share that was to be split off.
        num_train: Training examples that came out.
        num_validation: Validation examples that came out.
        num_dropped: Validation rows that gave no example.
    """
    found: list[Finding] = []
    if validation:
        prompts = {prompt_key(item) for item in train}
        equal = [item for item in validation if prompt_key(item) in prompts]
        groups = group_rows([*train, *validation]).tolist()
        trained_groups = set(groups[: len(train)])
        near = [item for item, group in zip(validation, groups[len(train) :], strict=True) if group in trained_groups]
        if near:
            found.append(
                Finding(
                    "validation_overlaps_training",
                    "warning",
                    _sources(near),
                    f"{len(near)} of {len(validation)} validation rows occur in training too ({len(equal)} with an equal "
                    "prompt, the others nearly equal): the validation loss will look better than it is.",
                    "Remove them from one side, or give no validation files and let Luthier split.",
                )
            )
    if not num_validation and (validation or fraction > 0):
        why = f"all {num_dropped} were dropped" if num_dropped else "all rows belong together (equal or nearly equal)"
        found.append(
            Finding(
                "no_validation",
                "warning",
                (),
                f"There is no validation row for {num_train} training examples: {why}.",
                "Without validation nothing tells the best checkpoint from the last; add different rows.",
            )
        )
    return found


def _sources(items: Sequence[Item]) -> tuple[Source, ...]:
    """Places of the first ten; the message holds the count."""
    return tuple(item.source for item in items[:_LISTED] if item.source is not None)
