"""`luthier blind`: answers of two contenders side by side for a person, without a word of whose they are.

The page is `pages.blind`. Decisions are in evaluation/blind/<task>-<against>.jsonl of the run; where the file is there already,
the comparison goes on. The result is the result of a task like any other: evaluation/<task>.people-<against>/.
"""

from __future__ import annotations

from pathlib import Path

from luthier.errors import DataError, InputError
from luthier.evaluation.blind.decisions import BlindFile, BlindHead
from luthier.evaluation.blind.draw import digest, draw
from luthier.evaluation.blind.result import blind_result, decided_rows
from luthier.evaluation.blind.session import BlindSession
from luthier.evaluation.markdown import task_markdown
from luthier.evaluation.recorded import RecordedRow, RecordedTask, recorded_tasks
from luthier.evaluation.result import TaskResult, save_result
from luthier.pages.report import write_report
from luthier.reporter import Reporter, Silent
from luthier.runs.folder import RunFolder
from luthier.workflows.recorded_answers import beside, recorded_answers

DEFAULT_ROWS = 50
MOST_ROWS = 1000
_SILENT = Silent()


def blind_path(folder: RunFolder, task: str, against: str) -> Path:
    """Where the decisions are."""
    return folder / "evaluation" / "blind" / f"{task}-{against}.jsonl"


def plan_blind(
    run: Path,
    against: str = "base",
    *,
    task: str | None = None,
    num_rows: int | None = None,
    seed: int | None = None,
    reporter: Reporter = _SILENT,
) -> BlindSession:
    """Draw rows and sides, or go on with those that were drawn.

    Args:
        run: Path of a finished run.
        against: A contender of its evaluation, or another run.
        task: Evaluated task, or what ``luthier evaluate --task`` takes; None where only one was evaluated.
        num_rows: Rows to look at; None for 50, or for those of the comparison that goes on.
        seed: Of the draw; None for 0, likewise.
        reporter: Told how far it is.

    Raises:
        InputError: A setting makes no sense, is another than that of the comparison that goes on, or there are no such answers.
        DataError: The answers are not those that were decided on.
    """
    if num_rows is not None and not 1 <= num_rows <= MOST_ROWS:
        raise InputError(f"--rows is {num_rows}; a person looks at 1 to {MOST_ROWS} rows.")
    folder = RunFolder.open(run)
    recorded = recorded_answers(folder, task or _only_task(folder), reporter)
    answers, name, notes = beside(recorded, folder, against)
    for note in notes:
        reporter.say(note, "warning")
    path = blind_path(folder, recorded.name, name)
    by_id = {row.row.id: row for row in answers.rows}
    contenders = ("tuned", name)
    if not path.exists():
        drawn = draw(answers.rows, contenders, num_rows or DEFAULT_ROWS, seed or 0)
        head = BlindHead(recorded.name, contenders, against, seed or 0, len(answers.rows), tuple(drawn))
        return BlindSession(BlindFile.create(path, head), [by_id[row.id] for row in drawn])
    file = BlindFile.open(path)
    head = file.head
    if num_rows not in (None, len(head.rows)) or seed not in (None, head.seed):
        raise InputError(
            f"{path} is a comparison of {len(head.rows)} rows with seed {head.seed} that goes on. Leave --rows and --seed away; "
            "or, to begin another, move that file away."
        )
    return BlindSession(file, _drawn_rows(file, by_id))


def blind_results(session: BlindSession, run: Path) -> TaskResult:
    """Keep what was decided so far in the run folder, and in its report.

    Raises:
        InputError: Nothing was decided yet.
    """
    if not decided_rows(session.file, session.rows):
        raise InputError(
            f"Nothing is decided in {session.file.path} yet. Decide first: the same command without --results."
        )
    result = blind_result(session.file, session.rows)
    folder = RunFolder.open(run)
    save_result(folder, result, task_markdown(result))
    write_report(folder.path)
    return result


def winners_by_people(folder: RunFolder, task: RecordedTask, against: str) -> dict[str, str | None]:
    """Who won each row that people decided, by its id, None for a tie; of the answers as they are now, empty where none was."""
    path = blind_path(folder, task.name, against)
    if not path.exists():
        return {}
    file = BlindFile.open(path)
    now = {row.row.id: digest(row, file.head.contenders) for row in task.rows}
    return {
        row.id: file.winner(number)
        for number, row in enumerate(file.head.rows)
        if file.choice(number) != "undecided" and now.get(row.id) == row.digest
    }


def _drawn_rows(file: BlindFile, by_id: dict[str, RecordedRow]) -> list[RecordedRow]:
    rows: list[RecordedRow] = []
    for drawn in file.head.rows:
        row = by_id.get(drawn.id)
        if row is None or digest(row, file.head.contenders) != drawn.digest:
            raise DataError(
                f"The answers to {drawn.id} are not those that {file.path} is about: the task was evaluated anew. Move that "
                "file away to compare the new answers."
            )
        rows.append(row)
    return rows


def _only_task(folder: RunFolder) -> str:
    names = [name for name in recorded_tasks(folder) if ".judge-" not in name and ".people-" not in name]
    if len(names) == 1:
        return names[0]
    found = f"evaluated: {', '.join(names)}" if names else "none was evaluated yet"
    raise InputError(f"Say which task's answers of {folder.name} to compare: --task NAME ({found}).")
