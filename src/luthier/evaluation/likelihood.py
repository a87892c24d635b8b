"""How probable a model finds given texts: log p of their tokens, through the scoring model that training uses.

Texts behind the same prompt share it: it goes through the model once, whatever the number of choices. Nothing is padded.
Running text that is longer than the model's positions is cut into windows; each token is predicted from its own window, whose
first token is the last of the window before.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from peft import PeftModel
from torch import nn

from luthier.accel.attention import base_model, choose_route
from luthier.accel.scorer import ScoringModel
from luthier.data.collate import collate
from luthier.data.example import Example, Segment
from luthier.data.template import ChatTemplate
from luthier.errors import ModelError
from luthier.evaluation.protocol import Likelihood
from luthier.objectives.base import Want
from luthier.types import Conversation, Document, Message

BUDGET_TOKENS = 4096
"""Tokens that go through the model at once, unless a single prompt with its texts is longer."""


class Continuation(NamedTuple):
    """A text to be predicted, as tokens, behind the tokens that it goes on from (at least one).

    Attributes:
        num_bytes: Of what is predicted, in UTF-8.
    """

    context_ids: tuple[int, ...]
    ids: tuple[int, ...]
    text: str
    num_bytes: int


def as_answer(template: ChatTemplate, messages: Sequence[Message], text: str) -> Continuation:
    """`text` as the assistant's answer, in the tokens that training and serving use; the end-of-turn token is left out.

    Raises:
        ModelError: The answer has no tokens.
    """
    asked = [m if m.role != "assistant" else Message("assistant", m.content, train=False) for m in messages]
    rendered = template.encode(Conversation((*asked, Message("assistant", text))))
    places = np.flatnonzero(rendered.trained)
    ids = rendered.ids[places].tolist()
    while ids and ids[-1] in template.end_of_turn_ids:
        ids.pop()
    if not ids:
        raise ModelError(f"The answer {text!r} has no tokens, so its probability cannot be measured.")
    return Continuation(tuple(rendered.ids[: places[0]].tolist()), tuple(ids), text, len(text.encode()))


def as_text(template: ChatTemplate, before: str, text: str) -> Continuation:
    """`text` behind `before`, or alone, without any chat template.

    Both are tokenised together, and what is behind the tokens of `before` alone is predicted, as lm-evaluation-harness does;
    white space at the end of `before` belongs to `text`.

    Raises:
        ModelError: Nothing is left to predict.
    """
    bare = before.rstrip()
    whole = _bare_ids(template, before + text)
    context = _bare_ids(template, bare) if bare else _bare_ids(template, "")
    start = max(len(context), 1)
    if len(whole) <= start:
        raise ModelError(f"The text {text[:60]!r} has no tokens behind its beginning, so nothing can be measured.")
    # Without BOS the first token of a text that stands alone is predicted by nothing.
    unpredicted = 0 if context else len(str(template.tokenizer.decode(whole[:1])).encode())
    num_bytes = len((before[len(bare) :] + text).encode()) if bare else len((before + text).encode()) - unpredicted
    return Continuation(tuple(whole[:start]), tuple(whole[start:]), text, num_bytes)


def _bare_ids(template: ChatTemplate, text: str) -> list[int]:
    """BOS where the model wants one, and the text, without the EOS of a document's end."""
    if not text:
        return template.encode_document(Document("a")).ids.tolist()[:1] if template.wants_bos else []
    return template.encode_document(Document(text)).ids.tolist()[:-1]


class Likelihoods(Protocol):
    """Measures how probable texts are: a `LikelihoodModel`, or one that remembers."""

    def measure(
        self,
        continuations: Sequence[Continuation],
        *,
        use_adapter: bool = True,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Likelihood]:
        """Log p of each text."""
        ...


class LikelihoodModel:
    """Measures texts with one model.

    Args:
        model: A causal language model of transformers, or a PeftModel around one.
        attention: As `model.attention` in the recipe.
        budget_tokens: Tokens that go through the model at once.

    The model's attention takes the route of packed documents from then on; generation sets its own.
    """

    def __init__(self, model: nn.Module, *, attention: str = "auto", budget_tokens: int = BUDGET_TOKENS) -> None:
        self._model = model
        inner = base_model(model)
        route, _ = choose_route(attention, inner.config, next(model.parameters()).device)
        self._scorer = ScoringModel(model, route)
        self._budget_tokens = budget_tokens
        self._positions: int | None = getattr(inner.config.get_text_config(), "max_position_embeddings", None)

    def measure(
        self,
        continuations: Sequence[Continuation],
        *,
        use_adapter: bool = True,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Likelihood]:
        """Log p of each text.

        Args:
            continuations: Those behind one context should stand together: they share it.
            use_adapter: False measures with the base model under the adapter.
            on_progress: Called with the number of texts measured since the last call.

        Raises:
            ModelError: A text with what stands before it is longer than the model's positions, and has a prompt.
        """
        sums = [0.0] * len(continuations)
        off: Any = nullcontext()
        if not use_adapter and isinstance(self._model, PeftModel):
            off = self._model.disable_adapter()
        was_training = self._model.training
        self._model.eval()
        try:
            with torch.no_grad(), off:
                for batch in _batches(self._examples(continuations), self._budget_tokens):
                    measured = self._measure_batch(batch)
                    for number, total in measured:
                        sums[number] += total
                    if on_progress is not None:
                        on_progress(len({number for number, _ in measured}))
        finally:
            self._model.train(was_training)
        return [
            Likelihood(each.text, total, len(each.ids), each.num_bytes)
            for each, total in zip(continuations, sums, strict=True)
        ]

    def _measure_batch(self, examples: Sequence[Example]) -> list[tuple[int, float]]:
        batch = collate(examples)
        scores = self._scorer(batch.to(self._scorer.device), Want(logprob=True))
        assert scores.logprob_S is not None
        sums = np.zeros(len(batch.rows))
        np.add.at(sums, batch.targets.segments_S.numpy(), scores.logprob_S.double().cpu().numpy())
        if not np.isfinite(sums).all():
            raise ModelError(
                "The model computed no number for the probability of a text. Its weights hold NaN or overflow in this "
                "precision: check the checkpoint, or use bf16 or fp32 instead of fp16."
            )
        return [(row, float(total)) for row, total in zip(batch.rows, sums, strict=True) if row >= 0]

    def _examples(self, continuations: Sequence[Continuation]) -> Iterator[Example]:
        """Prompts with the texts behind them; the row of a segment is the number of its continuation."""
        numbered = enumerate(continuations)
        for context, group in itertools.groupby(numbered, key=lambda pair: pair[1].context_ids):
            members = list(group)
            longest = len(context) + max(len(each.ids) for _, each in members)
            if self._positions is not None and longest > self._positions:
                yield from self._windows(members)
                continue
            root = Segment(np.array(context, np.int32), np.zeros(len(context), np.float32), row=-1)
            children = [
                Segment(np.array(each.ids, np.int32), np.ones(len(each.ids), np.float32), 0, row=number)
                for number, each in members
            ]
            yield Example(members[0][0], (root, *children))

    def _windows(self, members: Sequence[tuple[int, Continuation]]) -> Iterator[Example]:
        assert self._positions is not None
        for number, each in members:
            if len(each.context_ids) > 1:
                raise ModelError(
                    f"A prompt of {len(each.context_ids)} tokens with a text of {len(each.ids)} is longer than the model's "
                    f"{self._positions} positions; shorten it. It begins: {each.text[:60]!r}"
                )
            ids = np.array([*each.context_ids, *each.ids], np.int32)
            for start in range(0, len(ids) - 1, self._positions - 1):
                window = ids[start : start + self._positions]
                weights = np.ones(len(window), np.float32)
                weights[0] = 0.0
                yield Example(number, (Segment(window, weights),))


def _batches(examples: Iterator[Example], budget_tokens: int) -> Iterator[list[Example]]:
    batch: list[Example] = []
    size = 0
    for example in examples:
        if batch and size + example.num_tokens > budget_tokens:
            yield batch
            batch, size = [], 0
        batch.append(example)
        size += example.num_tokens
    if batch:
        yield batch
