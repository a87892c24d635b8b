"""run.json: the state of a run in a few lines, rewritten at each change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from luthier.runs.folder import RunFolder

Status = Literal["running", "interrupted", "failed", "finished"]
Verdict = Literal["verified", "unverified"]


def now() -> str:
    """The present moment, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Manifest(BaseModel):
    """What `luthier runs` shows and a resume needs first."""

    model_config = ConfigDict(extra="forbid")

    name: str
    status: Status
    verdict: Verdict | None = None
    base_model: str
    method: str
    created_at: str
    finished_at: str | None = None
    luthier_version: str
    step: int = 0
    total_steps: int = 0
    seconds: float = 0.0
    result: Literal["best", "last"] | None = None
    result_step: int | None = None
    error: str | None = None
    summary: dict[str, Any] = {}

    def save(self, folder: RunFolder) -> None:
        """Write run.json."""
        folder.write_json("run.json", self.model_dump())

    @classmethod
    def load(cls, folder: RunFolder) -> Manifest:
        """Read run.json."""
        return cls(**folder.read_json("run.json"))
