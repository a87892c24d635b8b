"""Overlap with the reference in n-grams and in the longest common subsequence (Lin 2004). Needs rouge-score (extra [eval]).

ROUGE rewards words in common, not truth: a fluent answer with one wrong number scores high. Use it to see drift between runs.
"""

from __future__ import annotations

from typing import Any

from luthier.errors import MissingExtraError
from luthier.evaluation.protocol import Score, Scorer, TaskRow
from luthier.evaluation.scorers.exact_match import accepted_texts, text_problem

_TYPES = ("rouge1", "rouge2", "rougeL")


class Rouge(Scorer):
    """F1 of ROUGE-L, with ROUGE-1 and ROUGE-2 beside it; of several references the best counts.

    Args:
        stem: Whether words are cut to their English stems first.

    Raises:
        MissingExtraError: rouge-score is not installed.
    """

    name = "rouge"
    metric = "rougeL"
    figures = ("rouge1", "rouge2")

    def __init__(self, *, stem: bool = False) -> None:
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError as error:
            raise MissingExtraError("rouge-score", "eval", "The scorer rouge") from error
        self._scorer = RougeScorer(list(_TYPES), use_stemmer=stem)

    def reference_problem(self, reference: Any) -> str:
        """It must be text."""
        return text_problem(reference)

    def score(self, row: TaskRow, answer: str) -> Score:
        """F1 against the reference."""
        found = [self._scorer.score(reference, answer) for reference in accepted_texts(row.reference)]
        best = {name: max(float(each[name].fmeasure) for each in found) for name in _TYPES}
        why = f"ROUGE-L {best['rougeL']:.2f}" if answer.strip() else "the answer is empty"
        return Score(best["rougeL"], why, measures={name: best[name] for name in _TYPES[:2]})
