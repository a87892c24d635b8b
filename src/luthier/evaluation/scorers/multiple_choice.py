"""Right if the model finds the right choice the most probable. Nothing is generated, so manners do not count.

`acc`: the choice with the highest sum of log-probabilities. `acc_norm`: the highest sum divided by the choice's length in
characters, which takes the advantage from short choices. Both as in lm-evaluation-harness. Of equal values the first wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from luthier.evaluation.protocol import Likelihood, LikelihoodScorer, Score, TaskRow

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class MultipleChoice(LikelihoodScorer):
    """Compares choices. A row's reference holds `choices`, and `answer`: the number of the right one (from 0), its letter, or
    its text.

    Args:
        prompt_format: ``chat``: each choice as the answer to the prompt. ``text``: behind the bare text, after `delimiter`.
        delimiter: Between text and choice; only for ``text``.
    """

    name = "multiple_choice"
    metric = "acc"
    figures = ("acc_norm",)

    def __init__(self, *, prompt_format: Literal["chat", "text"] = "chat", delimiter: str = " ") -> None:
        self.prompt_format = prompt_format
        self._delimiter = delimiter if prompt_format == "text" else ""

    def reference_problem(self, reference: Any) -> str:
        """At least two choices, and one of them is right."""
        choices = reference.get("choices") if isinstance(reference, Mapping) else None
        if not isinstance(choices, list | tuple) or len(choices) < 2 or not all(str(choice) for choice in choices):
            return "there must be at least two choices; give reference: {choices: COLUMN, answer: COLUMN} in the task"
        if right_choice(reference) is None:
            return f"its answer is {reference.get('answer')!r}, which is none of the {len(choices)} choices"
        return ""

    def continuations(self, row: TaskRow) -> Sequence[str]:
        """All choices."""
        return [f"{self._delimiter}{choice}" for choice in row.reference["choices"]]

    def judge(self, row: TaskRow, likelihoods: Sequence[Likelihood]) -> Score:
        """1 where the right choice is the most probable."""
        choices = [str(choice) for choice in row.reference["choices"]]
        right = right_choice(row.reference)
        assert right is not None
        sums = [each.logprob for each in likelihoods]
        by_length = [each.logprob / len(choice) for each, choice in zip(likelihoods, choices, strict=True)]
        chosen, chosen_norm = sums.index(max(sums)), by_length.index(max(by_length))
        why = "the right choice is the most probable" if chosen == right else f"'{choices[chosen]}' is more probable"
        return Score(float(chosen == right), why, choices[chosen], {"acc_norm": float(chosen_norm == right)})


def right_choice(reference: Mapping[str, Any]) -> int | None:
    """The number of the right choice; None where the answer is none of them."""
    choices, answer = [str(choice) for choice in reference["choices"]], reference.get("answer")
    if isinstance(answer, int) and not isinstance(answer, bool):
        return answer if 0 <= answer < len(choices) else None
    text = str(answer).strip()
    if text in choices:
        return choices.index(text)
    letter = text.strip("().").upper()
    if len(letter) == 1 and letter in _LETTERS[: len(choices)]:
        return _LETTERS.index(letter)
    return int(text) if text.isdigit() and int(text) < len(choices) else None
