"""Preference pairs and labelled answers → examples: a prompt as one segment, and the answers that continue it.

The prompt goes through the model once for all its answers. Where it ends is read off the tokens: it is what the renderings of
the answers have in common before the first learnt token, so whatever the chat template does, each branch holds exactly the
tokens of prompt and answer rendered alone.

A labelled answer brings a second one along, the answer of another row to this prompt: KTO measures on it how far the policy
has moved in general. It is scored and never learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from luthier.data.example import Example, Part, Segment
from luthier.data.report import DroppedRow, list_rows
from luthier.data.tokenize import Overlong, Renderer, Tokenized, TokenizedSet, with_weights
from luthier.errors import DataError
from luthier.reporter import Reporter
from luthier.types import Conversation, Document, LabelledAnswer, Message, PreferencePair, Source

JudgedItem = PreferencePair | LabelledAnswer

_REPORT_EVERY_ROWS = 200


class _Answer(NamedTuple):
    """A rendered answer with its prompt before it."""

    part: Part
    tokens: Segment

    @property
    def first_learnt(self) -> int:
        return int(np.flatnonzero(self.tokens.weights)[0])

    def cut(self, length: int) -> _Answer:
        return self._replace(tokens=Segment(self.tokens.ids[:length], self.tokens.weights[:length]))


def imitated(item: Conversation | Document | JudgedItem) -> Conversation | Document:
    """The row as a conversation: of a pair the chosen answer, of a labelled answer that answer."""
    if isinstance(item, Conversation | Document):
        return item
    answer = item.chosen if isinstance(item, PreferencePair) else item.answer
    return _spoken(item.prompt, answer, item.source)


def compared(item: Conversation | Document | JudgedItem) -> Conversation | Document:
    """The row as rows are compared: the prompt, and all that is said to it as one answer.

    So rows with one prompt are found whatever their answers are, and pairs that differ in the rejected answer alone are two.
    """
    if isinstance(item, Conversation | Document):
        return item
    answers = (*item.chosen, *item.rejected) if isinstance(item, PreferencePair) else item.answer
    said = Message("assistant", "\n".join(m.content for m in answers))
    return Conversation((*item.prompt, said), source=item.source)


def _spoken(prompt: Sequence[Message], answer: Sequence[Message], source: Source | None) -> Conversation:
    context = (replace(m, train=False) if m.role == "assistant" else m for m in prompt)
    return Conversation((*context, *answer), source=source)


def tokenize_answers(
    rows: Sequence[tuple[int, JudgedItem]],
    template: Renderer,
    *,
    max_length: int,
    overlong: Overlong,
    reporter: Reporter,
    what: str = "rows",
) -> Tokenized:
    """Tokenise numbered rows; `what` they are called in messages ("training rows").

    Args:
        max_length: Most tokens of a prompt with one of its answers.
        overlong: Longer rows are dropped by name, cut at the end of their answers, or refused.

    Raises:
        DataError: Rows that the template refuses, or, with ``overlong="error"``, longer rows; the first ten are listed.
    """
    fitter = _Fitter(max_length, overlong)
    refused: list[DroppedRow] = []
    for start in range(0, len(rows), _REPORT_EVERY_ROWS):
        reporter.progress(f"tokenize {what}", start, len(rows))
        some = rows[start : start + _REPORT_EVERY_ROWS]
        branches = [_branches(item) for _, item in some]
        encoded = iter(template.encode_rows([spoken for row in branches for _, spoken in row]))
        for (row, item), own in zip(some, branches, strict=True):
            views = [next(encoded) for _ in own]
            try:
                answers = [_answer(part, view) for (part, _), view in zip(own, views, strict=True)]
            except DataError as error:
                refused.append(DroppedRow(_place(row, item), str(error).removeprefix(f"{item.source}: ")))
            else:
                fitter.add(row, item, answers)
    reporter.progress(f"tokenize {what}", len(rows), len(rows))
    if refused:
        raise DataError(f"{len(refused)} of {len(rows)} {what} cannot be learnt from:\n{list_rows(refused)}")
    if overlong == "error" and fitter.num_too_long:
        raise DataError(
            f"{fitter.num_too_long} of {len(rows)} {what} are longer than {max_length} tokens (longest: "
            f"{fitter.longest_row_tokens}):\n{list_rows(fitter.dropped)}\n"
            "Raise data.max_length, or set data.overlong to drop or truncate."
        )
    return fitter.result()


def _branches(item: JudgedItem) -> list[tuple[Part, Conversation]]:
    if isinstance(item, PreferencePair):
        answers = [(Part.CHOSEN, item.chosen), (Part.REJECTED, item.rejected)]
    else:
        answers = [(Part.GOOD if item.is_good else Part.BAD, item.answer)]
    return [(part, _spoken(item.prompt, answer, item.source)) for part, answer in answers]


def _answer(part: Part, encoded: Sequence[object] | DataError) -> _Answer:
    name = part.name.lower()
    if isinstance(encoded, DataError):
        raise encoded
    if len(encoded) > 1:
        raise DataError(
            f"{name}: the chat template shows the earlier turns of this answer otherwise than they are generated; compare "
            "answers of one turn"
        )
    tokens = with_weights(encoded[0])  # type: ignore[arg-type]
    if not tokens.weights.any():
        raise DataError(f"{name}: none of its {len(tokens.ids)} tokens is learnt (all are masked)")
    return _Answer(part, tokens)


def _place(row: int, item: JudgedItem) -> Source:
    return item.source or Source("row", row)


class _Fitter:
    """Takes rows one by one, makes those that are too long fit or drops them, and counts what that costs."""

    def __init__(self, max_length: int, overlong: Overlong) -> None:
        self.max_length = max_length
        self.overlong = overlong
        self.kept: list[tuple[int, list[_Answer]]] = []
        self.dropped: list[DroppedRow] = []
        self.longest_row_tokens = 0
        self.num_too_long = 0
        self.num_truncated_rows = 0
        self.num_lost_answer_tokens = 0

    def add(self, row: int, item: JudgedItem, answers: list[_Answer]) -> None:
        longest = max(len(answer.tokens.ids) for answer in answers)
        self.longest_row_tokens = max(self.longest_row_tokens, longest)
        learnt = _num_learnt(answers)
        if longest > self.max_length:
            self.num_too_long += 1
            if self.overlong != "truncate":
                self._drop(row, item, f"{longest} tokens, the limit is {self.max_length}", learnt)
                return
            answers = [answer.cut(self.max_length) for answer in answers]
            if not all(answer.tokens.weights.any() for answer in answers):
                reason = f"{longest} tokens; nothing of an answer is within the first {self.max_length}"
                self._drop(row, item, reason, learnt)
                return
        if len(answers) > 1 and np.array_equal(answers[0].tokens.ids, answers[1].tokens.ids):
            self._drop(row, item, "chosen and rejected are the same tokens: there is nothing to compare", 0)
            return
        self.num_truncated_rows += longest > self.max_length
        self.num_lost_answer_tokens += learnt - _num_learnt(answers)
        self.kept.append((row, answers))

    def _drop(self, row: int, item: JudgedItem, reason: str, lost_tokens: int) -> None:
        self.num_lost_answer_tokens += lost_tokens
        self.dropped.append(DroppedRow(_place(row, item), reason))

    def result(self) -> Tokenized:
        if any(len(answers) == 1 for _, answers in self.kept):
            self.kept = _with_mismatched(self.kept, self.max_length)
        return Tokenized(
            TokenizedSet.from_examples([_example(row, answers) for row, answers in self.kept]),
            tuple(self.dropped),
            self.longest_row_tokens,
            self.num_truncated_rows,
            self.num_lost_answer_tokens,
            num_cut_documents=0,
            num_rewritten_rows=0,
        )


def _num_learnt(answers: Sequence[_Answer]) -> int:
    return sum(int(np.count_nonzero(answer.tokens.weights)) for answer in answers)


def _with_mismatched(rows: Sequence[tuple[int, list[_Answer]]], max_length: int) -> list[tuple[int, list[_Answer]]]:
    """Give each row the answer of the next row with another prompt, cut where it does not fit."""
    own = [answers[0] for _, answers in rows]
    prompts = [answer.tokens.ids[: answer.first_learnt] for answer in own]
    others = _next_different([prompt.tobytes() for prompt in prompts])
    result: list[tuple[int, list[_Answer]]] = []
    for (row, answers), prompt, other in zip(rows, prompts, others, strict=True):
        ids, weights = own[other].tokens.ids, own[other].tokens.weights
        start = own[other].first_learnt
        joined = Segment(
            np.concatenate([prompt, ids[start:]]),
            np.concatenate([np.zeros(len(prompt), np.float32), weights[start:]]),
        )
        result.append((row, [*answers, _Answer(Part.MISMATCHED, joined).cut(max_length)]))
    return result


def _next_different(keys: Sequence[bytes]) -> list[int]:
    """For each place the next one, around the end, whose key differs; where all are equal, simply the next."""
    count = len(keys)
    result = [(place + 1) % count for place in range(count)]
    if len(set(keys)) < 2:
        return result
    for place in [*range(count - 1, -1, -1), *range(count - 1, -1, -1)]:
        following = (place + 1) % count
        result[place] = following if keys[following] != keys[place] else result[following]
    return result


def _example(row: int, answers: Sequence[_Answer]) -> Example:
    """The tree: what all branches begin with, then each branch's own rest."""
    first = answers[0].tokens.ids
    shared = min(answer.first_learnt for answer in answers)
    for answer in answers[1:]:
        different = np.flatnonzero(first[:shared] != answer.tokens.ids[:shared])
        shared = int(different[0]) if len(different) else shared
    segments = [Segment(first[:shared], np.zeros(shared, np.float32), row=-1)] if shared else []
    for part, tokens in answers:
        segments.append(Segment(tokens.ids[shared:], tokens.weights[shared:], 0 if shared else -1, part=part))
    return Example(row, tuple(segments))


def unshared(example: Example) -> Example:
    """The same answers, each with a prompt of its own."""
    if len(example.segments) == 1:
        return example
    return Example(example.row, tuple(branch.segments[0] for branch in separate(example)))


def separate(example: Example) -> list[Example]:
    """Each branch of a tree as an example of one segment: what the tree stands for, without sharing."""
    continued = {segment.parent for segment in example.segments}
    rows: list[Example] = []
    for index, leaf in enumerate(example.segments):
        if index in continued:
            continue
        chain = [leaf]
        while chain[0].parent >= 0:
            chain.insert(0, example.segments[chain[0].parent])
        ids, weights = (np.concatenate([getattr(s, name) for s in chain]) for name in ("ids", "weights"))
        row = example.row if leaf.row is None else leaf.row
        rows.append(Example(row, (Segment(ids, weights, part=leaf.part, reference=leaf.reference),)))
    return rows
