"""Right if the answer names the right label. Over all rows: accuracy, macro-F1 and the confusion matrix.

The label of an answer is the one that it equals, else the only one that it mentions as a whole word (of labels that contain
each other, "not spam" and "spam", the longer). An answer that names none or several has no label: it is wrong, and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from luthier.evaluation.protocol import Judged, Score, Scorer, TaskRow
from luthier.evaluation.scorers.exact_match import normalised

NO_LABEL = "(no label)"


class Classification(Scorer):
    """Finds labels in answers.

    Args:
        labels: All there are.
    """

    name = "classification"
    metric = "accuracy"
    figures = ("macro_f1", "share_without_label")

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._by_text = {_spaced(label): label for label in self.labels}
        longest_first = sorted(self._by_text, key=len, reverse=True)
        self._mention = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)") if labels else None

    def reference_problem(self, reference: Any) -> str:
        """It must be one of the labels."""
        if str(reference) in self.labels:
            return ""
        return f"it is {reference!r}, which is none of the {len(self.labels)} labels"

    def label_of(self, answer: str) -> str | None:
        """The label an answer names; None where it names none, or several."""
        text = _spaced(answer)
        if text in self._by_text:
            return self._by_text[text]
        mentioned = set(self._mention.findall(text)) if self._mention else set()
        return self._by_text[mentioned.pop()] if len(mentioned) == 1 else None

    def score(self, row: TaskRow, answer: str) -> Score:
        """1 where the label is the reference."""
        label, wanted = self.label_of(answer), str(row.reference)
        if label is None:
            return Score(0.0, "names no label, or several" if answer.strip() else "the answer is empty")
        return Score(float(label == wanted), "the right label" if label == wanted else f"'{label}' instead", label)

    def summarise(self, judged: Sequence[Judged]) -> dict[str, Any]:
        """macro_f1, share_without_label, and confusion: {right label: {label of the answer: rows}}."""
        pairs = [(str(j.row.reference), j.score.found) for j in judged]
        confusion: dict[str, dict[str, int]] = {}
        for (right, said), count in sorted(Counter((r, s or NO_LABEL) for r, s in pairs).items()):
            confusion.setdefault(right, {})[said] = count
        return {
            "macro_f1": macro_f1(pairs),
            "share_without_label": sum(said is None for _, said in pairs) / len(pairs),
            "confusion": confusion,
        }


def macro_f1(pairs: Sequence[tuple[str, str | None]]) -> float:
    """Mean of F1 over the labels that occur, as right ones or as answers, from (right label, label of the answer).

    An answer without label lowers the recall of the right label, and no label's precision.
    """
    occurring = sorted({right for right, _ in pairs} | {said for _, said in pairs if said is not None})
    f1s: list[float] = []
    for label in occurring:
        hits = sum(right == label == said for right, said in pairs)
        named = sum(said == label for _, said in pairs)
        there = sum(right == label for right, _ in pairs)
        f1s.append(2 * hits / (named + there))
    return sum(f1s) / len(f1s)


def _spaced(text: str) -> str:
    """Labels are often identifiers, and answers write them as words: card_arrival, Card arrival, card-arrival."""
    return normalised(re.sub(r"[_\-]+", " ", text))
