"""`luthier judge`: a model judges recorded answers of a run: against another contender side by side, or each by a rubric.

What is judged are the answers that `luthier evaluate` wrote; a task that was not evaluated yet is evaluated first. The result is
the result of a task like any other: evaluation/<task>.judge-<against>/ with summary, Markdown and rows, and a part of the report.
Every verdict is in evaluation/cache/judge.jsonl before it is used: the same command goes on after a crash, asking nothing twice.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from luthier.errors import DataError, EndpointError, InputError, Interrupted
from luthier.evaluation.asked import SilenceCounts
from luthier.evaluation.asking_estimate import AskingEstimate, estimate_asking
from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.judge.agreement import Agreement
from luthier.evaluation.judge.labels import TIE, agreement_on_grades, agreement_on_winners, read_grades, read_winners
from luthier.evaluation.judge.pairwise import JudgedPair, PairwiseJudge, pairwise_findings
from luthier.evaluation.judge.rubric import METRIC as RUBRIC_METRIC
from luthier.evaluation.judge.rubric import GradedRow, RubricJudge, graded_contenders
from luthier.evaluation.markdown import task_markdown
from luthier.evaluation.pairwise import pairwise_result
from luthier.evaluation.recorded import RecordedTask
from luthier.evaluation.result import TaskResult, save_result
from luthier.generate.in_order import in_order
from luthier.generate.journal import Journal, Journalled
from luthier.pages.report import write_report
from luthier.reporter import Reporter, Silent
from luthier.runs.folder import RunFolder
from luthier.workflows.blind import winners_by_people
from luthier.workflows.data_generate import Prices
from luthier.workflows.load_chat_model import ChatModelChoice
from luthier.workflows.recorded_answers import beside, recorded_answers

By = Literal["pairwise", "rubric"]
JOURNAL_FILE = "evaluation/cache/judge.jsonl"
_SILENT = Silent()


@dataclass(frozen=True)
class Session:
    """One result to be made: a judge, and the answers that it is shown.

    Attributes:
        name: Of the result.
        task: Rows with all answers that are judged.
        notes: What was left out.
    """

    name: str
    task: RecordedTask
    judge: PairwiseJudge | RubricJudge
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judging:
    """What is to be judged, before anybody is asked; from `plan_judging`.

    Attributes:
        judge_name: Of the judge, in the journal: with its address, or with what tells its weights from others.
        labels: File with what people say of the same answers; None for what was decided in ``luthier blind``.
    """

    folder: RunFolder
    sessions: tuple[Session, ...]
    choice: ChatModelChoice
    judge_name: str
    journal: Journal
    labels: Path | None
    prices: Prices | None
    estimate: AskingEstimate


@dataclass(frozen=True)
class JudgeResult:
    """What the judge said; the same stands in the run folder.

    Attributes:
        num_asked: Questions that were not in the journal.
        cost: Of these; None without prices.
    """

    run: Path
    judge: str
    tasks: tuple[TaskResult, ...]
    num_asked: int
    prompt_tokens: int
    answer_tokens: int
    cost: float | None
    estimate: AskingEstimate
    journal: Path

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "run": str(self.run),
            "judge": self.judge,
            "tasks": {task.task: task.to_json() for task in self.tasks},
            "num_asked": self.num_asked,
            "prompt_tokens": self.prompt_tokens,
            "answer_tokens": self.answer_tokens,
            "cost": self.cost,
            "estimate": asdict(self.estimate),
            "journal": str(self.journal),
        }


def plan_judging(
    run: Path,
    task: str,
    choice: ChatModelChoice,
    *,
    by: By = "pairwise",
    against: Sequence[str] = ("base",),
    criteria: Path | None = None,
    labels: Path | None = None,
    limit: int | None = None,
    max_tokens: int = 512,
    prices: Prices | None = None,
    reporter: Reporter = _SILENT,
) -> Judging:
    """Read the answers, evaluating the task first where it was not, and reckon what judging takes.

    Args:
        run: Path of a finished run.
        task: Name of an evaluated task, or what ``luthier evaluate --task`` takes.
        choice: Who judges.
        by: pairwise: the tuned model beside each of `against`, in both orders. rubric: each answer in points.
        against: Contenders of the run's evaluation, or other runs that were evaluated on the task.
        criteria: Text file that says what makes an answer good.
        labels: What people say of the same answers.
        limit: Judge only the first rows.
        max_tokens: Longest verdict.
        prices: For money.
        reporter: Told how far it is.

    Raises:
        InputError: A setting makes no sense, or there are no such answers.
        RunError: There is no such run.
    """
    if max_tokens < 16 or (limit is not None and limit < 1) or not against:
        raise InputError(
            "A verdict needs 16 tokens or more, --limit is at least 1, and there is one --against or more."
        )
    if labels is not None and by == "pairwise" and len(against) > 1:
        raise InputError("--labels says who won of two; name one --against.")
    folder = RunFolder.open(run)
    said = _read_criteria(criteria)
    recorded = recorded_answers(folder, task, reporter)
    sessions: list[Session] = []
    if by == "pairwise":
        for other in against:
            answers, name, notes = beside(recorded, folder, other)
            judge = PairwiseJudge("tuned", name, said, max_tokens)
            sessions.append(Session(f"{recorded.name}.judge-{name}", _first(answers, limit), judge, notes))
    else:
        notes, names, answers = (), ["tuned"], recorded
        for other in against:
            answers, name, more = beside(answers, folder, other)
            names, notes = [*names, name], (*notes, *more)
        judge = RubricJudge((*names[1:], "tuned"), said, max_tokens)
        sessions.append(Session(f"{recorded.name}.judge-rubric", _first(answers, limit), judge, notes))
    journal = Journal(_made(folder / JOURNAL_FILE))
    name = _identity(choice)
    questions = (q for s in sessions for row in s.task.rows for q in s.judge.questions(row))
    money = None if prices is None else (prices.prompt, prices.answer)
    estimate = estimate_asking(questions, name, journal, money)
    return Judging(folder, tuple(sessions), choice, name, journal, labels, prices, estimate)


def judge_answers(plan: Judging, *, reporter: Reporter = _SILENT) -> JudgeResult:
    """Ask the judge, and keep what follows from its verdicts in the run folder.

    Args:
        plan: From `plan_judging`.
        reporter: Told how far it is.

    Raises:
        EndpointError: Nobody answers; what was answered is in the journal.
        DataError: No verdict made sense.
        Interrupted: What was answered is in the journal.
    """
    asking = Journalled(SilenceCounts(plan.choice.open(reporter), plan.judge_name), plan.journal)
    results: list[TaskResult] = []
    try:
        for session in plan.sessions:
            results.append(_judge_session(session, plan, asking, reporter))
    except (KeyboardInterrupt, Interrupted) as stop:
        number = stop.signal_number if isinstance(stop, Interrupted) else signal.SIGINT
        raise Interrupted(number, f"Interrupted. {_saved(plan)}") from stop
    except EndpointError as error:
        raise EndpointError(f"{error}\n{_saved(plan)}", ends_all=True) from error
    finally:
        asking.stop()
        plan.journal.close()
    for result in results:
        save_result(plan.folder, result, task_markdown(result))
    write_report(plan.folder.path)
    prompt, answer = (sum(getattr(said, name) for said in asking.asked) for name in ("prompt_tokens", "answer_tokens"))
    return JudgeResult(
        plan.folder.path,
        plan.choice.model,
        tuple(results),
        len(asking.asked),
        prompt,
        answer,
        plan.prices.cost(prompt, answer) if plan.prices else None,
        plan.estimate,
        plan.journal.path,
    )


def _judge_session(session: Session, plan: Judging, asking: Journalled, reporter: Reporter) -> TaskResult:
    began = time.perf_counter()
    reporter.stage(f"{plan.choice.model} judges {session.name}")
    judged: list[Any] = []
    reporter.progress(session.name, 0, len(session.task.rows))
    rows = session.task.rows
    with closing(in_order(lambda row: session.judge.judge(row, asking.ask), rows, asking.parallel)) as verdicts:
        for one in verdicts:
            judged.append(one)
            left_out = sum(bool(each.problem) for each in judged)
            reporter.progress(session.name, len(judged), len(rows), {"without verdict": left_out} if left_out else None)
    seconds = time.perf_counter() - began
    if isinstance(session.judge, PairwiseJudge):
        return _pairwise_result(session, session.judge, plan, judged, seconds)
    return _rubric_result(session, session.judge, plan, judged, seconds)


def _pairwise_result(
    session: Session, judge: PairwiseJudge, plan: Judging, judged: Sequence[JudgedPair], seconds: float
) -> TaskResult:
    scored = [pair for pair in judged if not pair.problem]
    nonsense = sum(verdict.num_nonsense for pair in judged for verdict in pair.verdicts)
    problems, record = _left_out(session, judged, nonsense)
    findings = pairwise_findings(judged, judge.first, judge.second)
    winners = {p.row.row.id: _winner(sum(p.points), judge.first, judge.second) for p in scored if p.verdicts}
    if plan.labels is not None:
        people = read_winners(plan.labels, (judge.first, judge.second))
    else:
        by_people = winners_by_people(plan.folder, session.task, judge.second)
        people = {row: winner or TIE for row, winner in by_people.items()}
    found = agreement_on_winners(winners, people)
    told = _agreement_notes(found, has_labels=bool(people))
    agreed = {} if found is None or found.kappa is None else {"kappa_with_people": found.kappa.mean}
    return pairwise_result(
        session.name,
        f"judge: {plan.choice.model}",
        (judge.first, judge.second),
        [pair.decided() for pair in scored],
        seconds=seconds,
        figures={**findings.figures, **agreed},
        notes=[_judged_by(plan, judge.criteria), *session.notes, *problems, *findings.notes, *told],
        record={"judge": {**_by(plan, "pairwise"), **record, **findings.record, "agreement": _json(found)}},
    )


def _rubric_result(
    session: Session, judge: RubricJudge, plan: Judging, judged: Sequence[GradedRow], seconds: float
) -> TaskResult:
    nonsense = sum(verdict.num_nonsense for row in judged for verdict in row.verdicts.values())
    problems, record = _left_out(session, judged, nonsense)
    scored = [row for row in judged if not row.problem]
    found, labels = None, {}
    if plan.labels is not None:
        points = {
            (r.row.row.id, name): v.value for r in scored for name, v in r.verdicts.items() if v.value is not None
        }
        labels = read_grades(plan.labels, judge.contenders)
        found = agreement_on_grades(points, labels)
    told = _agreement_notes(found, has_labels=bool(labels))
    return TaskResult(
        session.name,
        RUBRIC_METRIC,
        f"judge: {plan.choice.model}",
        graded_contenders(scored, judge.contenders),
        seconds,
        notes=(_judged_by(plan, judge.criteria), *session.notes, *problems, *told),
        record={"is_graded": True, "judge": {**_by(plan, "rubric"), **record, "agreement": _json(found)}},
    )


def _left_out(
    session: Session, judged: Sequence[JudgedPair | GradedRow], num_nonsense: int
) -> tuple[list[str], dict[str, Any]]:
    """Rows without a verdict: told, and never scored."""
    problems = [one.problem for one in judged if one.problem]
    if len(problems) == len(judged):
        first = Counter(problems).most_common(1)[0][0]
        raise DataError(
            f"The judge gave no verdict on any of {len(judged)} rows of {session.task.name}: no result. Mostly: {first}. "
            "Try a larger model, or a longer --max-tokens; --limit 3 tries it on a few."
        )
    record = {
        "num_judged": len(judged) - len(problems),
        "num_nonsense_answers": num_nonsense,
        "left_out": dict(Counter(problem.partition(":")[0] for problem in problems)),
    }
    notes: list[str] = []
    if num_nonsense:
        notes.append(f"{num_nonsense} answers of the judge made no sense; each was asked for once more.")
    if problems:
        notes.append(
            f"{len(problems)} of {len(judged)} rows have no verdict and are not scored. The first: {problems[0]}."
        )
    return notes, record


def _winner(points: float, first: ContenderName, second: ContenderName) -> str:
    return TIE if points == 1 else first if points > 1 else second


def _agreement_notes(found: Agreement | None, *, has_labels: bool) -> list[str]:
    if found is not None:
        return [found.sentence("The judge", "people")]
    return ["No row that people judged has a verdict of the judge: agreement is not known."] if has_labels else []


def _json(found: Agreement | None) -> dict[str, Any] | None:
    return None if found is None else found.to_json()


def _by(plan: Judging, kind: By) -> dict[str, Any]:
    return {"by": kind, "model": plan.choice.model, "endpoint": plan.choice.endpoint}


def _judged_by(plan: Judging, criteria: str) -> str:
    where = f" at {plan.choice.endpoint}" if plan.choice.endpoint else ""
    what = f" Criteria: {' '.join(criteria.split())[:200]}" if criteria else ""
    return f"Judged by the model {plan.choice.model}{where}, not by people.{what}"


def _read_criteria(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The rubric {path} cannot be read as text: {error}.") from error
    if not text:
        raise InputError(f"The rubric {path} is empty; say in it what makes an answer good.")
    return text


def _first(task: RecordedTask, limit: int | None) -> RecordedTask:
    return RecordedTask(task.name, task.rows[:limit])


def _identity(choice: ChatModelChoice) -> str:
    """A name that no other judge has: with the address, or for a folder here with what changes when its weights do."""
    if choice.endpoint is not None:
        return f"{choice.model}@{choice.endpoint}"
    folder = next((p for p in (Path(choice.model), Path("runs") / choice.model) if p.is_dir()), None)
    files = sorted(folder.rglob("*.safetensors")) if folder else []
    stamp = max((file.stat().st_mtime_ns for file in files), default=0)
    return f"{choice.model}@here-{stamp}"


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _saved(plan: Judging) -> str:
    num = len(plan.journal)
    verdicts = "1 verdict is" if num == 1 else f"{num:,} verdicts are"
    return f"{verdicts} in {plan.journal.path}; the same command goes on from there. No result is written yet."
