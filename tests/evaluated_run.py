"""A run folder with a recorded evaluation, made without any model: what judges and people are shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from luthier.evaluation.contenders import Contender
from luthier.evaluation.markdown import task_markdown
from luthier.evaluation.result import save_result
from luthier.evaluation.run_task import run_task
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from tests.unit.evaluation.fakes import FAKE_CONTRACT, FakeEngine, FakeTask, FakeTemplate
from tests.unit.pages.run_folder import manifest


def evaluated_run(
    path: Path,
    answer_of: Callable[[str, int], str],
    num_rows: int = 30,
    contenders: tuple[str, ...] = ("base", "tuned"),
) -> RunFolder:
    """A run evaluated on the task "numbers", rows n0, n1, …: ``answer_of(contender, number)`` is what was said."""
    folder = RunFolder.create(path)
    folder.write_json("run.json", Manifest(**{**manifest(), "name": path.name}).model_dump())

    def engine(name: str) -> FakeEngine:
        return FakeEngine(lambda prompt, _: answer_of(name, int(prompt.rsplit("q", 1)[1].rstrip("|"))))

    task, template = FakeTask(num_rows), FakeTemplate()
    asked = [Contender(name, engine(name), use_adapter=False) for name in contenders]
    result = run_task(task, asked, contract=FAKE_CONTRACT, template=template)  # pyright: ignore[reportArgumentType]
    save_result(folder, result, task_markdown(result))
    return folder
