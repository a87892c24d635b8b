"""All parts of the suite, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from luthier.evaluation.protocol import LikelihoodScorer
from luthier.evaluation.suite import arithmetic, instructions, knowledge, text
from luthier.evaluation.suite.arithmetic import general_arithmetic
from luthier.evaluation.suite.instructions import general_instructions
from luthier.evaluation.suite.knowledge import general_knowledge
from luthier.evaluation.suite.part import SuitePart
from luthier.evaluation.suite.text import general_text

PARTS: Mapping[str, Callable[[], SuitePart]] = {
    text.NAME: general_text,
    knowledge.NAME: general_knowledge,
    arithmetic.NAME: general_arithmetic,
    instructions.NAME: general_instructions,
}

_CHARACTERS_PER_TOKEN = 4.0


class Cost(NamedTuple):
    """Tokens that the suite takes of one model at most: read at once, and generated one after another."""

    read_tokens: int
    generated_tokens: int


def general_suite() -> tuple[SuitePart, ...]:
    """All parts, in their order."""
    return tuple(make() for make in PARTS.values())


def cost() -> Cost:
    """Of one contender; by characters, because it is asked before any tokenizer is loaded."""
    characters, generated = 0, 0
    for part in general_suite():
        for row in part.rows():
            prompt = sum(len(message.content) for message in row.messages)
            if isinstance(part.scorer, LikelihoodScorer):
                characters += prompt + sum(len(choice) for choice in part.scorer.continuations(row))
            else:
                characters += prompt
                generated += part.generation.max_new_tokens
    return Cost(round(characters / _CHARACTERS_PER_TOKEN), generated)
