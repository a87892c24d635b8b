"""What tuning cost elsewhere, written into the run: a JSON and a Markdown file, and the check where the recipe sets a limit."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.evaluation.forgetting import (
    USUAL_TOLERANCE,
    Kept,
    forgetting_check,
    forgetting_markdown,
    judge_forgetting,
)
from luthier.evaluation.result import TaskResult
from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.workflows.recording import record_checks

FORGETTING_FILE = "evaluation/forgetting.json"


def record_forgetting(
    folder: RunFolder, results: Sequence[TaskResult], tolerance: float | None, reporter: Reporter
) -> tuple[Kept, ...]:
    """Judge the parts of the general suite among some results; none of them: nothing is done.

    A part that was forgotten beyond the tolerance of the recipe fails the check `evaluation.forgetting`, and the run is no longer
    verified. Without a tolerance losses are told, against the usual one.

    Args:
        tolerance: Of the recipe; None where it sets none.
    """
    parts = judge_forgetting(results, tolerance or USUAL_TOLERANCE)
    if not parts:
        return ()
    folder.write_json(FORGETTING_FILE, {"is_gate": tolerance is not None, "parts": [part.to_json() for part in parts]})
    folder.write_text("evaluation/forgetting.md", forgetting_markdown(parts) + "\n")
    for part in parts:
        reporter.say(part.sentence(), "warning" if part.answer == "forgotten" else "info")
    if tolerance is not None:
        record_checks(folder, reporter, [forgetting_check(parts)])
        _settle_verdict(folder)
    return tuple(parts)


def _settle_verdict(folder: RunFolder) -> None:
    """A run is verified when every check passed, this one among them."""
    manifest = Manifest.load(folder)
    if manifest.verdict is None:
        return
    manifest.verdict = "verified" if all(check.passed for check in folder.checks()) else "unverified"
    manifest.save(folder)
