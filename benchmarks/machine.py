"""Identity of the machine and versions, written beside every result: a number without them is an anecdote."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from luthier.runs.environment import describe_environment


def identity() -> dict[str, Any]:
    """CPU, memory, versions, date; no names of people or hosts."""
    environment = describe_environment("cpu")
    environment.pop("command")
    packages = environment["packages"]
    packages["trl"] = metadata.version("trl")
    return {**environment, "load_before": os.getloadavg()[0], "date": datetime.now(UTC).date().isoformat()}
