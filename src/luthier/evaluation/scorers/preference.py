"""Right if the model finds the chosen answer more probable than the rejected one. A row's reference holds both.

Compared are sums of log-probabilities, as DPO's implicit reward without its reference model does; long answers lose by that,
so `per_token` gives the share of rows where the mean over tokens prefers the chosen one. Equal counts half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.evaluation.protocol import Likelihood, LikelihoodScorer, Score, TaskRow


class Preference(LikelihoodScorer):
    """Compares two answers."""

    name = "preference"
    metric = "preference_accuracy"
    figures = ("per_token",)

    def reference_problem(self, reference: Any) -> str:
        """Two different texts."""
        if not isinstance(reference, Mapping) or not all(
            isinstance(reference.get(name), str) and reference[name].strip() for name in ("chosen", "rejected")
        ):
            return "there must be two texts; give reference: {chosen: COLUMN, rejected: COLUMN} in the task"
        return "chosen and rejected are the same" if reference["chosen"] == reference["rejected"] else ""

    def continuations(self, row: TaskRow) -> Sequence[str]:
        """Chosen and rejected."""
        return [row.reference["chosen"], row.reference["rejected"]]

    def judge(self, row: TaskRow, likelihoods: Sequence[Likelihood]) -> Score:  # noqa: ARG002 - the texts say it all
        """1 where the chosen one is more probable."""
        chosen, rejected = likelihoods
        value = _more(chosen.logprob, rejected.logprob)
        per_token = _more(chosen.logprob / chosen.num_tokens, rejected.logprob / rejected.num_tokens)
        margin = chosen.logprob - rejected.logprob
        return Score(value, f"margin {margin:+.2f} nats", measures={"per_token": per_token})


def _more(a: float, b: float) -> float:
    return 1.0 if a > b else 0.5 if a == b else 0.0
