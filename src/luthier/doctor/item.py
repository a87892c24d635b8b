"""One line of what `luthier doctor` found: a fact with its verdict, and the command that mends it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Status = Literal["good", "note", "failed", "skipped"]


class Item(NamedTuple):
    """A verdict.

    Attributes:
        group: What it belongs to: packages, machine, gpu, network, caches, trials.
        name: Short and stable.
        status: ``note`` is worth knowing and stops nothing; ``failed`` stops something that was to be expected.
        found: What was seen.
        mend: What to do; never empty where it failed.
        seconds: How long a trial took; None for facts.
    """

    group: str
    name: str
    status: Status
    found: str
    mend: str = ""
    seconds: float | None = None
