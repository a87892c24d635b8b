"""How well the model predicts a text: bits per byte (less is better), and perplexity beside it.

With a prompt the text is the answer to it, as the inference contract renders it, without its end-of-turn token; without one
it is running text: BOS before it where the model wants one, else its first token is not predicted and not counted.

Bits per byte do not depend on the tokenizer, perplexity (per token) does: compare that only within one model family. The mean
over rows is weighted by bytes, so that it is the value of all texts together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from luthier.evaluation.protocol import Judged, Likelihood, LikelihoodScorer, Score, TaskRow

LARGEST_EXPONENT = 700.0
"""Beyond, a float overflows."""


class Perplexity(LikelihoodScorer):
    """Measures texts. A row's reference is the text.

    Args:
        prompt_format: ``chat``: an answer to the prompt. ``text``: it goes on from the bare prompt, or stands alone.
    """

    name = "perplexity"
    metric = "bits_per_byte"
    lower_is_better = True
    is_share = False
    figures = ("perplexity", "tokens")

    def __init__(self, *, prompt_format: Literal["chat", "text"] = "chat") -> None:
        self.prompt_format = prompt_format

    def reference_problem(self, reference: Any) -> str:
        """It must be text."""
        return "" if isinstance(reference, str) and reference.strip() else f"it is {reference!r}; it must be text"

    def continuations(self, row: TaskRow) -> Sequence[str]:
        """The text."""
        return [row.reference]

    def judge(self, row: TaskRow, likelihoods: Sequence[Likelihood]) -> Score:  # noqa: ARG002 - the text says it all
        """Its bits per byte, weighted by its bytes."""
        (text,) = likelihoods
        bits = -text.logprob / math.log(2) / max(text.num_bytes, 1)
        why = f"{bits:.3f} bits per byte over {text.num_bytes} bytes, {text.num_tokens} tokens"
        return Score(bits, why, measures={"tokens": float(text.num_tokens)}, weight=float(text.num_bytes))

    def summarise(self, judged: Sequence[Judged]) -> dict[str, Any]:
        """Perplexity over all tokens: exp of the mean nats per token."""
        nats = math.log(2) * sum(j.score.value * j.score.weight for j in judged)
        tokens = sum(j.score.measures["tokens"] for j in judged)
        return {"perplexity": math.exp(min(nats / max(tokens, 1.0), LARGEST_EXPONENT))}
