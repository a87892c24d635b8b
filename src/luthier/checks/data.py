"""Before training: what the tokenised rows claim to be, counted on the very arrays that will be trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from luthier.data.template import ChatTemplate
from luthier.data.tokenize import TokenizedSet
from luthier.data.tokenizer_check import check_tokenizer_round_trip
from luthier.types import Check, Conversation

SAMPLED_CONVERSATIONS = 32


def _examples(sets: Iterable[TokenizedSet]) -> Iterable[tuple[np.ndarray, np.ndarray, int]]:
    for rows in sets:
        for index in range(len(rows)):
            example = rows[index]
            for segment in example.segments:
                yield segment.ids, segment.weights, example.row


def answers_end(sets: Sequence[TokenizedSet], end_ids: frozenset[int], max_length: int | None) -> Check:
    """Each run of trained tokens ends with an end-of-turn token that is itself trained."""
    turns, bad = 0, []
    for ids, weights, row in _examples(sets):
        trained = weights > 0
        lasts = np.flatnonzero(trained & ~np.append(trained[1:], False))
        for last in lasts:
            if max_length is not None and last == max_length - 1:
                continue  # cut by overlong: truncate or document chunks, which the data report counts
            turns += 1
            if int(ids[last]) not in end_ids:
                bad.append(row)
    return Check(
        name="data.end_of_turn",
        claim="Every trained turn ends with a trained end-of-turn token.",
        measured=f"{turns - len(bad)} of {turns}" + (f"; first other: row {bad[0]}" if bad else ""),
        limit=f"{turns} of {turns}",
        unit="turns",
        passed=not bad,
        advice="A model that never sees an end never stops. Check the chat template (model.chat_template).",
    )


def one_bos(sets: Sequence[TokenizedSet], bos_id: int | None, required: bool) -> Check:
    """One beginning-of-sequence token per row where the model wants it, and never two of them.

    Args:
        sets: Training and validation rows.
        bos_id: None where the tokenizer has no such token.
        required: Whether the tokenizer puts one before text of its own accord.
    """
    bad: list[int] = []
    rows = 0
    if bos_id is not None:
        for ids, _, row in _examples(sets):
            rows += 1
            doubled = len(ids) > 1 and ids[0] == bos_id and ids[1] == bos_id
            if doubled or (required and ids[0] != bos_id):
                bad.append(row)
    wanted = (
        "starts with exactly one beginning-of-sequence token"
        if required
        else "has no doubled beginning-of-sequence token"
    )
    return Check(
        name="data.bos",
        claim=f"Every row {wanted}.",
        measured="no such token in this tokenizer" if bos_id is None else f"{rows - len(bad)} of {rows} rows",
        limit="" if bos_id is None else f"{rows} of {rows} rows",
        unit="",
        passed=not bad,
        advice="Template and tokenizer both add it, or neither does. Check model.chat_template.",
    )


def rows_are_supervised(sets: Sequence[TokenizedSet]) -> Check:
    """At least one trained token in every row."""
    bad = [row for _, weights, row in _examples(sets) if not weights.any()]
    total = sum(len(s) for s in sets)
    supervised = sum(int((weights > 0).sum()) for _, weights, _ in _examples(sets))
    return Check(
        name="data.supervised",
        claim="Every row has at least one trained token.",
        measured=f"{total - len(bad)} of {total} rows, {supervised} trained tokens"
        + (f"; rows without: {', '.join(map(str, bad[:10]))}" if bad else ""),
        limit=f"{total} of {total} rows",
        unit="",
        passed=not bad,
        advice="Rows without a trained token teach nothing and dilute the batch: remove them or check the mask.",
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
