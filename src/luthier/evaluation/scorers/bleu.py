"""BLEU (Papineni et al. 2002) and chrF (Popović 2015) as sacrebleu computes them. Needs sacrebleu (extra [eval]).

A row's score is the sentence's, from 0 to 1, and what is compared row by row; the figures `corpus_bleu` and `corpus_chrf` are
those that papers report, over all rows together, from 0 to 100 as they are published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.errors import MissingExtraError
from luthier.evaluation.protocol import Judged, Score, Scorer, TaskRow
from luthier.evaluation.scorers.exact_match import accepted_texts, text_problem


class _Sacrebleu(Scorer):
    """What both have in common.

    Args:
        sentence: sacrebleu's metric for one sentence.
        corpus: The same for all.
    """

    corpus_figure = ""

    def __init__(self, sentence: Any, corpus: Any) -> None:
        self._sentence, self._corpus = sentence, corpus

    def reference_problem(self, reference: Any) -> str:
        """It must be text."""
        return text_problem(reference)

    def score(self, row: TaskRow, answer: str) -> Score:
        """The sentence's, divided by 100. What was found is the answer itself: the corpus figure needs it."""
        value = float(self._sentence.sentence_score(answer, accepted_texts(row.reference)).score) / 100
        why = f"{self.metric} {100 * value:.1f}" if answer.strip() else "the answer is empty"
        return Score(value, why, answer)

    def summarise(self, judged: Sequence[Judged]) -> dict[str, Any]:
        """The corpus figure. Rows with fewer references than others lend their first again."""
        references = [accepted_texts(j.row.reference) for j in judged]
        most = max(map(len, references))
        streams = [[r[n] if n < len(r) else r[0] for r in references] for n in range(most)]
        return {
            self.corpus_figure: float(self._corpus.corpus_score([j.score.found or "" for j in judged], streams).score)
        }


class Bleu(_Sacrebleu):
    """BLEU; a sentence's with effective order, since short ones have no 4-grams.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """

    name = "bleu"
    metric = "bleu"
    figures = ("corpus_bleu",)
    corpus_figure = "corpus_bleu"

    def __init__(self) -> None:
        try:
            from sacrebleu.metrics.bleu import BLEU
        except ImportError as error:
            raise MissingExtraError("sacrebleu", "eval", "The scorer bleu") from error
        super().__init__(BLEU(effective_order=True), BLEU())


class Chrf(_Sacrebleu):
    """chrF2: F-score of character 6-grams, recall counting double.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """

    name = "chrf"
    metric = "chrf"
    figures = ("corpus_chrf",)
    corpus_figure = "corpus_chrf"

    def __init__(self) -> None:
        try:
            from sacrebleu.metrics.chrf import CHRF
        except ImportError as error:
            raise MissingExtraError("sacrebleu", "eval", "The scorer chrf") from error
        super().__init__(CHRF(), CHRF())
