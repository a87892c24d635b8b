"""A row with a reference, for tests of scorers."""

from __future__ import annotations

from typing import Any

from luthier.evaluation.protocol import TaskRow
from luthier.types import Message


def row(reference: Any = None, question: str = "?") -> TaskRow:
    return TaskRow("1", (Message("user", question),), reference)
