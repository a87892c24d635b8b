"""`luthier evaluate`: a finished run against its base model, on tasks."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from luthier.demo.task import ShopSql
from luthier.errors import DataError, InputError
from luthier.evaluation.answer_cache import AnswerCache, CachedEngine
from luthier.evaluation.asking_estimate import AskingEstimate
from luthier.evaluation.contenders import Contender, three_contenders, title_of
from luthier.evaluation.correction import Corrected, correct, correction_sentence
from luthier.evaluation.forgetting import Kept
from luthier.evaluation.likelihood_cache import CachedLikelihoods, LikelihoodCache
from luthier.evaluation.markdown import task_markdown
from luthier.evaluation.overlap import TrainingIndex
from luthier.evaluation.probes.leakage import Leakage
from luthier.evaluation.probes.memorisation import Memorisation
from luthier.evaluation.probes.protocol import Probe, RunRows
from luthier.evaluation.probes.refusals import NAME as REFUSALS
from luthier.evaluation.probes.refusals import refusals
from luthier.evaluation.protocol import LikelihoodScorer, Task
from luthier.evaluation.requirement import Requirement, Verdict, parse_requirement
from luthier.evaluation.result import TaskResult, save_result
from luthier.evaluation.run_task import run_task
from luthier.evaluation.statistics.power import USUAL_DISCORDANCE, detectable_difference
from luthier.evaluation.suite.general import PARTS
from luthier.evaluation.tasks.file_task import FileTask, load_layout, load_task_file
from luthier.evaluation.tasks.held_out import NAME as HELD_OUT
from luthier.evaluation.tasks.held_out import HeldOut
from luthier.evaluation.tasks.layouts import LAYOUTS
from luthier.generate.journal import Journal
from luthier.pages.report import write_report
from luthier.reporter import Reporter, Silent
from luthier.workflows.endpoint_costs import Paid, paid_by, tell_estimates
from luthier.workflows.find_rival import find_rivals
from luthier.workflows.forgetting import record_forgetting
from luthier.workflows.general_suite import GENERAL, tasks_unnamed
from luthier.workflows.load_run import LoadedRun, load_run, open_run
from luthier.workflows.rivals import JOURNAL_FILE, Caches, EndpointTerms, Rivals, load_rivals
from luthier.workflows.training_rows import read_held_out_rows, read_training_rows

BUILT_IN_TASKS: dict[str, Callable[[], Task]] = {
    ShopSql.name: ShopSql,
    **PARTS,
    REFUSALS: refusals,
    # Probes show a task's face (name, metric, figures), and are asked by `measure`.
    Memorisation.name: cast("Callable[[], Task]", Memorisation),
    Leakage.name: cast("Callable[[], Task]", Leakage),
}
GROUPS: dict[str, tuple[str, ...]] = {
    GENERAL: tuple(PARTS),
    "safety": (REFUSALS, Memorisation.name, Leakage.name),
}
"""Names that stand for several tasks."""
CACHE_FILE = "evaluation/cache/answers.jsonl"
LIKELIHOOD_FILE = "evaluation/cache/likelihoods.jsonl"


@dataclass(frozen=True)
class EvaluationResult:
    """What was measured; the same stands in the run folder under evaluation/.

    Attributes:
        corrected: All comparisons, with p-values adjusted for their number.
        requirements: Whether each was met.
        num_cached: Answers that came from the cache.
        num_generated: Answers that were generated.
        forgetting: The parts of the general suite, after against before.
        is_forgetting_limited: Whether the recipe sets a limit to it.
        probes: What the probes of the run's own rows found, by name, in a sentence.
        num_found: Log-probabilities that came from the cache.
        num_measured: Log-probabilities that were measured.
        endpoints: What was asked of each endpoint.
    """

    run: Path
    tasks: tuple[TaskResult, ...]
    seconds: float
    corrected: tuple[Corrected, ...] = ()
    requirements: tuple[Verdict, ...] = ()
    num_cached: int = 0
    num_generated: int = 0
    forgetting: tuple[Kept, ...] = ()
    is_forgetting_limited: bool = False
    probes: Mapping[str, str] = field(default_factory=dict[str, str])
    num_found: int = 0
    num_measured: int = 0
    endpoints: tuple[Paid, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all requirements are met, and nothing is forgotten that the recipe wants kept."""
        has_forgotten = self.is_forgetting_limited and any(part.answer == "forgotten" for part in self.forgetting)
        return all(verdict.met for verdict in self.requirements) and not has_forgotten

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``--json``: the summaries by the name of the task."""
        return {
            "run": str(self.run),
            "seconds": round(self.seconds, 2),
            "tasks": {task.task: task.to_json() for task in self.tasks},
            "corrected": [each.to_json() for each in self.corrected],
            "requirements": [verdict.to_json() for verdict in self.requirements],
            "forgetting": [part.to_json() for part in self.forgetting],
            "probes": dict(self.probes),
            "passed": self.passed,
            "answers": {"cached": self.num_cached, "generated": self.num_generated},
            "likelihoods": {"cached": self.num_found, "measured": self.num_measured},
            "endpoints": [asked._asdict() for asked in self.endpoints],
        }


def evaluate(
    run: Path,
    *,
    tasks: Sequence[str] = (),
    requirements: Sequence[str] = (),
    others: Sequence[str] = (),
    terms: EndpointTerms | None = None,
    before_asking: Callable[[AskingEstimate], None] | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> EvaluationResult:
    """Answer tasks with the base model, the base model with worked examples (where the task has any), the tuned model, others.

    The results go into the run folder, and into its report, which is written again.

    Args:
        run: Path of a finished run.
        tasks: Built-in names, heldout (rows that the run kept back), paths of task files, or layout:file; none: those of
            the run's recipe, or the general suite.
        requirements: Gates such as "sql.accuracy >= base + 0.2"; see `evaluation.requirement`.
        others: Further contenders: runs, checkpoints, files, models, endpoints; see `workflows.find_rival`.
        terms: How endpoints are asked.
        before_asking: Told what it takes before an endpoint is asked anything that is not known yet; raises to forbid it.
        fresh: Generate all answers anew, also those that the run folder's cache has; what an endpoint said stays.
        reporter: Told of progress.

    Raises:
        InputError: A task or requirement is unknown or wrong; nothing was loaded.
        RunError: There is no such run, or it has no result.
        EndpointError: Nobody answers at an endpoint; what it answered before is kept.
    """
    began = time.perf_counter()
    reporter = reporter or Silent()
    rivals, terms = find_rivals(others), terms or EndpointTerms()
    gates = [parse_requirement(text, [rival.name for rival in rivals]) for text in requirements]
    chosen = find_tasks([name for name in tasks if name != HELD_OUT])
    folder, recipe = open_run(run)
    if HELD_OUT in tasks:
        kept_back, learnt = (read(folder, recipe) for read in (read_held_out_rows, read_training_rows))
        chosen.append(HeldOut(kept_back, learnt, recipe.evaluate.max_new_tokens))
    chosen = chosen or find_tasks(tasks_unnamed(recipe))
    for gate in gates:
        gate.check_names(chosen)
    (folder / CACHE_FILE).parent.mkdir(parents=True, exist_ok=True)
    caches = Caches(
        AnswerCache(folder / CACHE_FILE, fresh=fresh),
        LikelihoodCache(folder / LIKELIHOOD_FILE, fresh=fresh),
        Journal(folder / JOURNAL_FILE),
    )
    for task in chosen:
        reporter.say(power_sentence(task))
        if isinstance(task, FileTask) and not task.few_shot():
            reporter.say(
                f"{task.name} has no worked examples, so the base model is asked without any; examples: 4 in the task file "
                "shows what a better prompt alone would gain."
            )
    if before_asking is not None:
        tell_estimates(before_asking, folder, chosen, rivals, caches.journal, terms)
    reporter.stage("Load the run")
    loaded = load_run(folder.path, reporter=reporter)
    trained_on = _training_index(loaded, reporter)
    ready = load_rivals(rivals, loaded, caches, terms, reporter)
    try:
        results, probes = _measure(chosen, loaded, caches, ready, trained_on, reporter)
    finally:
        ready.stop()
        caches.journal.close()
    if known := caches.answers.hits + caches.likelihoods.hits:
        new = caches.answers.misses + caches.likelihoods.misses
        reporter.say(f"{known} answers from the cache, {new} new; --fresh makes all of them anew.")
    endpoints = paid_by(ready, terms, reporter)
    # A probe's result has its own sentence: more rows continued is no gain or loss to be corrected for.
    corrected = correct([(r.task, c) for r in results if r.task not in probes for c in r.comparisons()])
    if words := correction_sentence(corrected):
        reporter.say(words)
    forgetting = record_forgetting(folder, results, recipe.evaluate.forgetting_tolerance, reporter)
    verdicts = _judged(gates, results, probes, reporter)
    write_report(folder.path)
    seconds = time.perf_counter() - began
    return EvaluationResult(
        folder.path,
        tuple(results),
        seconds,
        tuple(corrected),
        tuple(verdicts),
        caches.answers.hits,
        caches.answers.misses,
        forgetting,
        recipe.evaluate.forgetting_tolerance is not None,
        probes,
        caches.likelihoods.hits,
        caches.likelihoods.misses,
        endpoints,
    )


def _measure(
    tasks: Sequence[Task],
    loaded: LoadedRun,
    caches: Caches,
    rivals: Rivals,
    trained_on: TrainingIndex | None,
    reporter: Reporter,
) -> tuple[list[TaskResult], dict[str, str]]:
    """All tasks, each kept as soon as it is there; and what probes found, in words."""
    results: list[TaskResult] = []
    probes: dict[str, str] = {}
    for task in tasks:
        reporter.stage(f"Evaluate {task.name}")
        contenders = _contenders(task, loaded, caches, rivals)
        if isinstance(task, Probe):
            probed, probes[task.name] = _probed(task, contenders, loaded, reporter)
            results += [probed] if probed is not None else []
            continue
        result = run_task(task, contenders, contract=loaded.contract, template=loaded.template, reporter=reporter)
        if trained_on is not None:
            result = replace(result, overlap=trained_on.overlap(task.rows()))
        save_result(loaded.folder, result, task_markdown(result))
        _tell(result, reporter)
        results.append(result)
    return results, probes


def _judged(
    gates: Sequence[Requirement], results: Sequence[TaskResult], probes: Mapping[str, str], reporter: Reporter
) -> list[Verdict]:
    by_name = {result.task: result for result in results}
    for gate in gates:
        if gate.task not in by_name:  # a probe that had nothing to ask
            raise InputError(f'--require "{gate.text}" cannot be judged. {probes[gate.task]}')
    verdicts = [gate.judge(by_name) for gate in gates]
    for verdict in verdicts:
        reporter.say(verdict.sentence(), "info" if verdict.met else "warning")
    return verdicts


def _probed(
    probe: Probe, contenders: Sequence[Contender], loaded: LoadedRun, reporter: Reporter
) -> tuple[TaskResult | None, str]:
    """Ask a probe with the run's own rows; what it found, and in words."""
    try:
        training, held_out = (read(loaded.folder, loaded.recipe) for read in (read_training_rows, read_held_out_rows))
    except DataError as error:
        words = f"{probe.name}: the training data cannot be read again, so there is nothing to ask: {error}"
        reporter.say(words, "warning")
        return None, words
    found = probe.measure(RunRows(training, held_out, loaded.template), contenders, reporter)
    reporter.say(found.sentence, "warning" if found.is_alarming else "info")
    if found.result is not None:
        save_result(loaded.folder, found.result, task_markdown(found.result))
    return found.result, found.sentence


def _contenders(task: Task, loaded: LoadedRun, caches: Caches, rivals: Rivals) -> list[Contender]:

    def fingerprint(use_adapter: bool) -> str:
        return loaded.fingerprint(use_adapter=use_adapter)

    measures = isinstance(task.scorer, LikelihoodScorer)
    own = three_contenders(
        task,
        tuned=rivals.tuned or CachedEngine(loaded.engine(), caches.answers, fingerprint),
        base=CachedEngine(loaded.base_engine(), caches.answers, fingerprint),
        tuned_likelihood=CachedLikelihoods(loaded.likelihood(), caches.likelihoods, fingerprint) if measures else None,
        base_likelihood=CachedLikelihoods(loaded.base_likelihood(), caches.likelihoods, fingerprint)
        if measures
        else None,
    )
    return own if isinstance(task, Probe) else [*own, *rivals.contenders()]


def _training_index(loaded: LoadedRun, reporter: Reporter) -> TrainingIndex | None:
    try:
        return TrainingIndex(read_training_rows(loaded.folder, loaded.recipe))
    except DataError as error:
        reporter.say(
            f"The training data cannot be read again, so it is not known which rows of a task they have too: {error}",
            "warning",
        )
        return None


def _tell(result: TaskResult, reporter: Reporter) -> None:
    """What a person has to know of a task at once."""
    for comparison in result.comparisons():
        reporter.say(comparison.sentence())
    for contender in result.contenders:
        if contender.num_empty:
            reporter.say(
                f"{result.task}: {contender.num_empty} of {result.num_rows} answers of the {title_of(contender.name)} are empty; "
                "they count as answers.",
                "warning",
            )
    if result.overlap is None:
        return
    if words := result.overlap.sentence(result.task, result.num_rows):
        reporter.say(words, "warning")
    if words := result.overlap.alike_sentence(result.task, result.num_rows):
        reporter.say(words)


def power_sentence(task: Task) -> str:
    """Before a run: what so many rows can show."""
    num_rows = len(task.rows())
    if isinstance(task, Probe):
        return f"{task.name}: asks with the run's own rows."
    if not task.scorer.is_share:
        return f"{task.name}: {num_rows} rows."
    least = detectable_difference(num_rows)
    if least is None:
        return (
            f"{task.name}: {num_rows} rows are too few to show any difference with 80 % probability, if the answers differ on "
            f"{100 * USUAL_DISCORDANCE:.0f} % of them."
        )
    return (
        f"{task.name}: {num_rows} rows show a difference of {100 * least:.1f} points or more (with 80 % probability, if the "
        f"answers differ on {100 * USUAL_DISCORDANCE:.0f} % of the rows)."
    )


def find_task(name: str) -> Task:
    """A built-in task by its name, a task file by its path, or a known data set as layout:file.

    Raises:
        InputError: There is no such task, or its file is wrong.
    """
    if name in BUILT_IN_TASKS:
        return BUILT_IN_TASKS[name]()
    layout, colon, file = name.partition(":")
    if colon and layout in LAYOUTS:
        return load_layout(layout, Path(file).expanduser())
    if name in LAYOUTS:
        raise InputError(f"The data of {name} are yours to bring: --task {name}:FILE.")
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml"):
        return load_task_file(path)
    near = difflib.get_close_matches(layout, [*BUILT_IN_TASKS, *GROUPS, *LAYOUTS], n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise InputError(
        f"There is no task '{name}'.{hint} Built-in tasks: {', '.join([*GROUPS, *BUILT_IN_TASKS])}. Known data sets, as "
        f"NAME:FILE: {', '.join(LAYOUTS)}. A task of your own is a .yaml file: name, data, prompt, reference, scorer."
    )


def find_tasks(names_or_paths: Sequence[str]) -> list[Task]:
    """Tasks by built-in name, name of a group, path of a file, or layout:file.

    Raises:
        InputError: One does not exist or is wrong, or two have one name.
    """
    tasks = [find_task(name) for given in names_or_paths for name in GROUPS.get(given, (given,))]
    names = [task.name for task in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"Two tasks have the name {', '.join(twice)}; results are kept by name, so give them different ones."
        )
    return tasks
