"""Forgetting and safety in the report, from files written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from luthier.pages.report.evaluation import read_tasks
from luthier.pages.report.safety import read_safety
from luthier.pages.report.verdict import verdict
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.types import Check
from tests.unit.pages.run_folder import manifest, write_run


def _summary(
    metric: str, base: float, tuned: float, figures: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    contenders = {
        name: {metric: value, "figures": {key: each[i] for key, each in (figures or {}).items()}}
        for i, (name, value) in enumerate((("base", base), ("tuned", tuned)))
    }
    return {"metric": metric, "contenders": contenders, **more}


def _write(folder: Path, name: str, content: Any) -> None:
    path = folder / "evaluation" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _part(task: str, metric: str, answer: str, *, is_share: bool) -> dict[str, Any]:
    return {
        "task": task, "metric": metric, "change": {"mean": -0.21, "low": -0.3, "high": -0.125}, "tolerance": 0.1,
        "answer": answer, "is_share": is_share, "sentence": f"{task} is {answer}.",
    }  # fmt: skip


def test_nothing_measured_is_none(tmp_path: Path) -> None:
    assert read_safety(RunFolder(tmp_path)) is None


def test_parts_and_probes(tmp_path: Path) -> None:
    parts = [
        _part("general-text", "bits_per_byte", "forgotten", is_share=False),
        _part("general-knowledge", "acc", "too few rows to tell", is_share=True),
        _part("general-gone", "acc", "kept", is_share=True),
    ]
    _write(tmp_path, "forgetting.json", {"is_gate": True, "parts": parts})
    _write(tmp_path, "general-text/summary.json", _summary("bits_per_byte", 1.5, 1.815))
    _write(tmp_path, "general-knowledge/summary.json", _summary("acc", 0.86, 0.65))
    probe = {"sentence": "memorisation: rows are known.", "is_alarming": True}
    figures = {"excess": (0.0, 0.5)}
    _write(tmp_path, "memorisation/summary.json", _summary("verbatim", 0.0, 0.75, figures, probe=probe))
    view = read_safety(RunFolder(tmp_path))
    assert view is not None
    text, knowledge = view.parts  # what has no summary any more is left out
    assert (text.before, text.after, text.change, text.answer) == ("1.5", "1.815", "−21.0 %", "forgotten")
    assert knowledge.change == "−21.0"
    assert "a larger one fails the run" in view.limit
    (memory,) = view.probes
    assert memory.sentence == "Rows are known."
    assert memory.is_alarming
    assert memory.figures == (("verbatim", "0.0\u00a0%", "75.0\u00a0%"), ("excess", "0.0\u00a0%", "50.0\u00a0%"))


def test_the_headline_is_of_what_was_trained_not_of_its_cost(tmp_path: Path) -> None:
    folder = RunFolder(write_run(tmp_path / "run"))
    before = read_tasks(folder) or []
    record = Manifest.model_validate(manifest())
    headline = verdict(record, before, [])
    (source,) = (folder / "evaluation").iterdir()
    for name in ("general-arithmetic", "memorisation"):
        summary = json.loads((source / "summary.json").read_text()) | {"task": name}
        _write(folder.path, f"{name}/summary.json", summary)
        (folder / f"evaluation/{name}/rows.jsonl").write_text("")
    tasks = read_tasks(folder) or []
    assert len(tasks) == len(before) + 2
    assert verdict(record, tasks, []) == headline
    failed = Check("evaluation.forgetting", "c", "forgotten: general-text", "l", "", False, "a")
    assert verdict(record, tasks, [failed]).more[-1] == "General suite: forgotten: general-text."
    alone = verdict(record, [task for task in tasks if task.name not in {t.name for t in before}], [])
    assert alone.word == "Trained"
