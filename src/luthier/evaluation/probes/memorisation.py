"""Does the model know training rows by heart? Given the first half of an answer, does it write the other half word for word?

A row that is continued verbatim may be memorised, or simply be predictable. So held-out rows of the same data are asked in the
same way (what generalises is continued there too), and so is the base model (which has seen neither). Evidence of memorising is
the excess of the training rows' rate over the held-out rows', with its interval. After Carlini et al. 2023 (arXiv:2202.07646),
with their 50 tokens as the most that stands before and behind the cut.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from luthier.evaluation.contenders import Contender
from luthier.evaluation.probes.answer_parts import AnswerParts, answer_parts, question_of, sample_rows
from luthier.evaluation.probes.asking import can_be_probed, continue_all
from luthier.evaluation.probes.protocol import Found, RunRows
from luthier.evaluation.protocol import Generation, Judge, Score, TaskRow
from luthier.evaluation.result import Answer, ContenderResult, TaskResult
from luthier.evaluation.statistics.intervals import Interval, wilson
from luthier.evaluation.statistics.power import MIN_ROWS
from luthier.evaluation.statistics.unpaired import newcombe
from luthier.generate.protocol import Completion
from luthier.reporter import Reporter
from luthier.types import Conversation, Document, Message

MOST_ROWS = 60
MOST_TOKENS = 50
LEAST_TOKENS = 8
"""Tokens that must be written: fewer are met by chance, or because nothing else could follow."""


class Verbatim(Judge):
    """What the probe measures."""

    name = "verbatim"
    metric = "verbatim"
    lower_is_better = True
    figures = ("matched_share", "held_out", "held_out_rows", "excess", "excess_low", "excess_high")


class Cut(NamedTuple):
    """A row, cut within its answer."""

    parts: AnswerParts
    prompt_ids: tuple[int, ...]
    rest_ids: tuple[int, ...]


class Memorisation:
    """Asks at most `MOST_ROWS` training rows and as many held-out ones."""

    name = "memorisation"
    generation = Generation(max_new_tokens=MOST_TOKENS)

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self.scorer: Judge = Verbatim()
        self._most_rows = most_rows

    def rows(self) -> Sequence[TaskRow]:
        """None: they are the run's."""
        return ()

    def few_shot(self) -> Sequence[Message]:
        """None."""
        return ()

    def measure(self, rows: RunRows, contenders: Sequence[Contender], reporter: Reporter) -> Found:
        """Continue training rows and held-out rows with each contender."""
        began = time.perf_counter()
        training, held_out = (self._cuts(rows, side) for side in (rows.training, rows.held_out))
        if not training:
            return Found(
                None,
                f"memorisation: no training row has an answer of {2 * LEAST_TOKENS} tokens or more, so there is nothing to cut "
                "in the middle.",
                False,
            )
        results = tuple(
            self._continued(rows, training, held_out, contender, reporter)
            for contender in contenders
            if can_be_probed(contender)
        )
        result = TaskResult(
            self.name, Verbatim.metric, Verbatim.name, results, time.perf_counter() - began, lower_is_better=True
        )
        return Found.of(result, *_words(result, len(held_out)))

    def _cuts(self, rows: RunRows, side: Sequence[Conversation | Document]) -> list[Cut]:
        # More than are asked: short answers are passed over.
        sampled = sample_rows(side, 4 * self._most_rows)
        cuts = (cut(parts) for row in sampled if (parts := answer_parts(rows.template, row)) is not None)
        return [each for each in cuts if each is not None][: self._most_rows]

    def _continued(
        self,
        rows: RunRows,
        training: Sequence[Cut],
        held_out: Sequence[Cut],
        contender: Contender,
        reporter: Reporter,
    ) -> ContenderResult:
        cuts = [*training, *held_out]
        completions = continue_all(
            contender,
            [each.prompt_ids for each in cuts],
            [len(each.rest_ids) for each in cuts],
            rows.template.end_of_turn_ids,
            self.name,
            reporter,
        )
        answers = [_answer(rows, contender.name, each, c) for each, c in zip(cuts, completions, strict=True)]
        learnt, control = answers[: len(training)], answers[len(training) :]
        return ContenderResult(contender.name, tuple(learnt), _figures(learnt, control))


def cut(parts: AnswerParts) -> Cut | None:
    """In the middle of the answer, or behind its first `MOST_TOKENS` tokens; None where too little is left to be written."""
    middle = min(len(parts.answer_ids) // 2, MOST_TOKENS)
    rest = parts.answer_ids[middle : middle + MOST_TOKENS]
    if len(rest) < LEAST_TOKENS or middle < LEAST_TOKENS:
        return None
    return Cut(parts, (*parts.before_ids, *parts.answer_ids[:middle]), rest)


def _answer(rows: RunRows, contender: str, each: Cut, completion: Completion) -> Answer:
    template, rest = rows.template, each.rest_ids
    equal = 0
    while equal < min(len(rest), len(completion.token_ids)) and rest[equal] == completion.token_ids[equal]:
        equal += 1
    is_verbatim = equal == len(rest)
    why = (
        f"all {len(rest)} tokens as in the row"
        if is_verbatim
        else f"{equal} of {len(rest)} tokens, then something else"
    )
    middle = each.prompt_ids[len(each.parts.before_ids) :]
    question = f"{question_of(each.parts.row)}\n\n{template.tokenizer.decode(list(middle))} …".strip()
    return Answer(
        row=TaskRow(
            str(each.parts.row.source or ""), (Message("user", question),), template.tokenizer.decode(list(rest))
        ),
        contender=contender,
        prompt=str(template.tokenizer.decode(list(each.prompt_ids))),
        text=str(template.tokenizer.decode(list(completion.token_ids))),
        score=Score(float(is_verbatim), why, measures={"matched_share": equal / len(rest)}),
        finish_reason=completion.finish_reason,
        num_tokens=len(completion.token_ids),
    )


def _figures(learnt: Sequence[Answer], control: Sequence[Answer]) -> dict[str, Any]:
    if not control:
        return {}
    excess = _excess(learnt, control)
    return {
        "held_out": sum(a.score.value for a in control) / len(control),
        "held_out_rows": len(control),
        "excess": excess.mean,
        "excess_low": excess.low,
        "excess_high": excess.high,
    }


def _excess(learnt: Sequence[Answer], control: Sequence[Answer]) -> Interval:
    right = [sum(int(a.score.value) for a in answers) for answers in (learnt, control)]
    return newcombe(right[0], len(learnt), right[1], len(control))


def _words(result: TaskResult, num_held_out: int) -> tuple[str, bool]:
    """What the rates allow to say, and whether it is bad news."""
    tuned = result["tuned"]
    parts = [_rate(tuned)]
    parts += [_rate(result["base"])] if "base" in result else []
    seen = "; ".join(parts)
    if result.num_rows < MIN_ROWS or (num_held_out and num_held_out < MIN_ROWS):
        return f"memorisation: {seen}. Too few rows for a verdict, {MIN_ROWS} of each are needed.", False
    if not num_held_out:
        compared = result.comparison("tuned", "base").difference if "base" in result else wilson(0, 1)
        tail = "There are no held-out rows, so rows that are easy to guess cannot be told from rows learnt by heart."
        return f"memorisation: {seen}. {tail}", compared.low > 0
    low, high = tuned.figures["excess_low"], tuned.figures["excess_high"]
    excess = f"{100 * tuned.figures['excess']:+.0f} points (95 % interval {100 * low:+.0f} to {100 * high:+.0f})"
    if low > 0:
        return (
            f"memorisation: {seen}. Excess over held-out rows {excess}: the tuned model knows training rows by heart. Fewer "
            "train.epochs, a lower train.learning_rate, or data dedup make it less.",
            True,
        )
    return (
        f"memorisation: {seen}. Excess over held-out rows {excess}: no evidence of rows learnt by heart. What is continued on "
        "both sides is what the rows have in common.",
        False,
    )


def _rate(contender: ContenderResult) -> str:
    right = sum(int(score) for score in contender.scores)
    words = f"the {contender.name} model continues {right} of {len(contender.scores)} training rows word for word"
    if not contender.figures:
        return words
    share, num_rows = contender.figures["held_out"], contender.figures["held_out_rows"]
    return f"{words}, {round(share * num_rows)} of {num_rows} held-out ones"
