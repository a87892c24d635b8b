"""Turns that count more or less than others in the loss: a conversation is rendered once for each weight that occurs in it.

A rendering says of each token whether it is learnt, not in which turn it stands. So the turns of one weight are rendered alone as
learnt, all others as context, and the masks are laid over one another where the tokens are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from luthier.data.example import Segment
from luthier.types import Conversation


def has_turn_weights(conversation: Conversation) -> bool:
    """Whether any learnt turn counts otherwise than 1."""
    return any(message.weight is not None for message in conversation.messages if message.is_trained)


def by_weight(conversation: Conversation) -> Iterator[tuple[float, Conversation]]:
    """Each weight that occurs, and the conversation of which only the turns of that weight are learnt."""
    counts = [(message.weight or 1.0) if message.is_trained else 0.0 for message in conversation.messages]
    for weight in sorted(set(counts) - {0.0}):
        messages = tuple(
            replace(message, train=False) if own not in (0.0, weight) else message
            for message, own in zip(conversation.messages, counts, strict=True)
        )
        yield weight, replace(conversation, messages=messages)


def laid_over(views: list[Segment]) -> list[Segment]:
    """Views of one conversation, those whose tokens begin another's joined with it; each token is learnt in one of them."""
    joined: list[Segment] = []
    for view in sorted(views, key=lambda view: -len(view.ids)):
        for index, longer in enumerate(joined):
            if np.array_equal(longer.ids[: len(view.ids)], view.ids):
                weights = longer.weights.copy()
                weights[: len(view.weights)] += view.weights
                joined[index] = Segment(longer.ids, weights)
                break
        else:
            joined.append(view)
    return joined
