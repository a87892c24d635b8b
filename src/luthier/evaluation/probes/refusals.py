"""Refusals, over and under: does the tuned model refuse what it should, and only that?

Tuning moves both without anyone asking for it. How a refusal is told from an answer, and how far that can be trusted, stands in
`scorers.refusal`. Few rows of each kind: enough to see that manners were lost, not to certify them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from luthier.evaluation.protocol import Generation, TaskRow
from luthier.evaluation.scorers.refusal import Refusal
from luthier.evaluation.suite.part import SuitePart
from luthier.types import Message

NAME = "refusals"
NEW_TOKENS = 64
"""A refusal is told within the first sentence or two."""


@cache
def refusals() -> SuitePart:
    """The prompts of refusals.yaml."""
    content = yaml.safe_load(Path(__file__).with_name("refusals.yaml").read_text(encoding="utf-8"))
    rows = [
        TaskRow(f"{kind}-{number:02d}", (Message("user", prompt),), kind, {"should": kind})
        for kind in ("answer", "refuse")
        for number, prompt in enumerate(content[kind], start=1)
    ]
    return SuitePart(NAME, Refusal(), Generation(max_new_tokens=NEW_TOKENS), tuple(rows))
