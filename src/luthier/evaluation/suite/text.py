"""How natural the model finds running text of many kinds: bits per byte, without any chat template."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from luthier.evaluation.protocol import Generation, TaskRow
from luthier.evaluation.scorers.perplexity import Perplexity
from luthier.evaluation.suite.part import SuitePart

NAME = "general-text"


@cache
def general_text() -> SuitePart:
    """The texts of texts.yaml."""
    content = yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text(encoding="utf-8"))
    rows = [
        TaskRow(f"text-{number:02d}", (), entry["text"], {"kind": entry["kind"]})
        for number, entry in enumerate(content["texts"], start=1)
    ]
    return SuitePart(NAME, Perplexity(prompt_format="text"), Generation(max_new_tokens=1), tuple(rows))
