"""`luthier export … --push`: what would be uploaded, and with --yes the upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import InputError
from luthier.export.push import PushPlan, check_repo_id, plan_push, push
from luthier.reporter import Reporter
from luthier.units import format_bytes


@dataclass(frozen=True)
class PushResult:
    """What was, or would be, uploaded.

    Attributes:
        url: Where it is now; None after a dry run.
    """

    plan: PushPlan
    url: str | None

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return self.plan.to_json() | {"folder": str(self.plan.folder), "pushed": self.url is not None, "url": self.url}


def refuse_push(repo_id: str, formats: Sequence[str], *, verify: bool) -> None:
    """What can be wrong with an upload before anything is exported.

    Raises:
        InputError: The id is none, several formats are asked for, or the export would not be verified.
    """
    check_repo_id(repo_id)
    names = [name for given in formats for name in given.split(",") if name.strip()]
    if len(names) > 1:
        raise InputError(f"One repository holds one format; asked for were {', '.join(names)}. Push them one by one.")
    if not verify:
        raise InputError("What was not verified is not put on the hub: leave out --no-verify.")


def push_export(folder: Path, repo_id: str, private: bool, really: bool, *, reporter: Reporter) -> PushResult:
    """Plan an upload, and make it where it is really wanted.

    Raises:
        InputError: The export or the id cannot be used, or nobody is logged in.
        EndpointError: The hub is out of reach, or refuses.
    """
    plan = plan_push(folder, repo_id, private=private)
    if not really:
        return PushResult(plan, None)
    reporter.stage(f"Push {format_bytes(plan.num_bytes)} to {repo_id}")
    return PushResult(plan, push(plan))
