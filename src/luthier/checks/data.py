"""Before training: what the tokenised rows claim to be, counted on the very arrays that will be trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from luthier.data.template import ChatTemplate
from luthier.data.tokenize import TokenizedSet
from luthier.data.tokenizer_check import check_tokenizer_round_trip
from luthier.types import Check, Conversation

SAMPLED_CONVERSATIONS = 32


def answers_end(sets: Sequence[TokenizedSet], end_ids: frozenset[int], max_length: int | None) -> Check:
    """Each run of trained tokens ends with an end-of-turn token that is itself trained.

    Args:
        sets: Training and validation rows.
        end_ids: Tokens that end a turn.
        max_length: Runs that end at this length were cut there (documents, or overlong: truncate) and are left out.
    """
    turns, cut, bad = 0, 0, []
    for tokens in sets:
        trained = tokens.weights > 0
        is_last = trained.copy()
        is_last[:-1] &= ~trained[1:]
        is_last[tokens.segment_offsets[1:] - 1] = trained[tokens.segment_offsets[1:] - 1]
        lasts = np.flatnonzero(is_last)
        segments = np.searchsorted(tokens.segment_offsets, lasts, side="right") - 1
        at_limit = lasts - tokens.segment_offsets[segments] + 1 + tokens.contexts[segments] == (max_length or -1)
        ended = np.isin(tokens.ids[lasts], list(end_ids))
        cut += int((at_limit & ~ended).sum())
        turns += int((ended | ~at_limit).sum())
        bad += _rows_of_segments(tokens, segments[~ended & ~at_limit])
    return Check(
        name="data.end_of_turn",
        claim="Every trained turn ends with a trained end-of-turn token.",
        measured=f"{turns - len(bad)} of {turns}"
        + (f", {cut} more cut at {max_length} tokens" if cut else "")
        + (f"; first other: row {bad[0]}" if bad else ""),
        limit=f"{turns} of {turns}",
        unit="turns",
        passed=not bad,
        advice="A model that never sees an end never stops. Check the chat template (model.chat_template).",
    )


def _rows_of_segments(tokens: TokenizedSet, segments: NDArray[np.int64]) -> list[int]:
    examples = np.searchsorted(tokens.example_offsets, segments, side="right") - 1
    return tokens.rows[examples].tolist()


def one_bos(sets: Sequence[TokenizedSet], bos_id: int | None, required: bool) -> Check:
    """One beginning-of-sequence token per row where the model wants it, and never two of them.

    Args:
        sets: Training and validation rows.
        bos_id: None where the tokenizer has no such token.
        required: Whether the tokenizer puts one before text of its own accord. Later chunks of a document have none.
    """
    bad: list[int] = []
    total = 0
    for tokens in sets if bos_id is not None else ():
        starts = tokens.segment_offsets[tokens.example_offsets[:-1]]
        has_one = tokens.ids[starts] == bos_id
        doubled = has_one & (tokens.lengths > 1) & (tokens.ids[np.minimum(starts + 1, len(tokens.ids) - 1)] == bos_id)
        is_first = np.diff(tokens.rows, prepend=-1) != 0
        bad += tokens.rows[doubled | (required & is_first & ~has_one)].tolist()
        total += len(tokens)
    wanted = (
        "starts with exactly one beginning-of-sequence token"
        if required
        else "has no doubled beginning-of-sequence token"
    )
    return Check(
        name="data.bos",
        claim=f"Every row {wanted}.",
        measured="no such token in this tokenizer"
        if bos_id is None
        else f"{total - len(bad)} of {total} rows" + (f"; first other: row {bad[0]}" if bad else ""),
        limit="" if bos_id is None else f"{total} of {total} rows",
        unit="",
        passed=not bad,
        advice="Template and tokenizer both add it, or neither does. Check model.chat_template.",
    )


def rows_are_supervised(sets: Sequence[TokenizedSet]) -> Check:
    """At least one trained token in every row."""
    bad: list[int] = []
    for tokens in sets:
        before = np.concatenate([[0], np.cumsum(tokens.weights > 0)])
        borders = before[tokens.segment_offsets[tokens.example_offsets]]
        bad += tokens.rows[np.diff(borders) == 0].tolist()
    total = sum(len(tokens) for tokens in sets)
    supervised = sum(tokens.num_targets for tokens in sets)
    return Check(
        name="data.supervised",
        claim="Every row has at least one trained token.",
        measured=f"{total - len(bad)} of {total} rows, {supervised} trained tokens"
        + (f"; rows without: {', '.join(map(str, bad[:10]))}" if bad else ""),
        limit=f"{total} of {total} rows",
        unit="",
        passed=not bad,
        advice="Rows without a trained token teach nothing: remove them, or see that an assistant turn of each is learnt.",
    )


def training_equals_serving(template: ChatTemplate, conversations: Sequence[Conversation]) -> Check:
    """The prompt that a server would build, followed by the answer, gives the ids that are trained."""
    bad = [(c, why) for c in conversations if (why := template.serving_mismatch(c, by_turn=True))]
    return Check(
        name="data.serving_tokens",
        claim=f"Training tokens equal serving tokens in {len(conversations)} sampled conversations.",
        measured=f"{len(conversations) - len(bad)} equal" + (f"; {bad[0][0].source}: {bad[0][1]}" if bad else ""),
        limit=f"{len(conversations)} equal",
        unit="",
        passed=not bad,
        advice="The template renders a turn differently once it is answered. Choose another model.chat_template.",
    )


def tokenizer_round_trip(tokenizer: PreTrainedTokenizerBase) -> Check:
    """Text survives encoding and decoding, and the tokenizer's own definition is honoured."""
    problem = check_tokenizer_round_trip(tokenizer)
    return Check(
        name="data.tokenizer",
        claim="Text that is encoded and decoded again is the same text.",
        measured=problem or "same",
        limit="same",
        unit="",
        passed=problem is None,
        advice="This tokenizer folder is read wrongly (some are labelled with another class); get a corrected one.",
    )
