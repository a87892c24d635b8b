"""What prompting alone reaches: a model that nobody has tuned answers a task, without and with worked examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from luthier.advise.situation import BaselineVerdict
from luthier.data.template import ChatTemplate
from luthier.errors import InputError
from luthier.evaluation.contenders import TITLES, Contender
from luthier.evaluation.protocol import LikelihoodScorer
from luthier.evaluation.result import TaskResult
from luthier.evaluation.run_task import run_task
from luthier.evaluation.statistics.intervals import Interval
from luthier.evaluation.statistics.power import MIN_ROWS
from luthier.generate.batched import BatchedEngine
from luthier.models.contract import InferenceContract
from luthier.models.load import find_model, generation_eos_ids, load_causal_lm, load_tokenizer
from luthier.models.placement import place
from luthier.reporter import Reporter
from luthier.units import format_share
from luthier.workflows.evaluate import find_task

BATCH_ROWS = 16
MOST_ROWS_NAMED = 100_000


@dataclass(frozen=True)
class Baselines:
    """What was measured.

    Attributes:
        result: The task with its contenders, base and (where the task has worked examples) few_shot.
        best: Title of the better one.
        interval: Its mean with limits.
        verdict: Of its interval against the target.
        rows_needed: Rows that would tell, where these do not.
        examples_effect: Verdict of few_shot against base, row by row; None without examples.
    """

    result: TaskResult
    best: str
    interval: Interval
    target: float
    verdict: BaselineVerdict
    rows_needed: int | None
    examples_effect: str | None
    examples_measured: str | None

    @property
    def measured(self) -> str:
        """The best score in words."""
        low, high = format_share(self.interval.low), format_share(self.interval.high)
        words = f"{format_share(self.interval.mean)} {self.result.metric.replace('_', ' ')}"
        return f"{words} (95 % interval {low} to {high}, {self.result.num_rows} rows)"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "task": self.result.to_json(),
            "best": self.best,
            "interval": self.interval.to_json(),
            "target": self.target,
            "verdict": self.verdict,
            "rows_needed": self.rows_needed,
            "examples_effect": self.examples_effect,
            "examples_measured": self.examples_measured,
        }


def measure_baselines(
    task_name: str, model_name: str, *, target: float, limit: int | None, reporter: Reporter
) -> Baselines:
    """Answer a task with a model as it is.

    Args:
        task_name: Built-in name or path of a task file.
        model_name: Of the catalogue, the hub, or a folder.
        target: Score from which on a prompt is good enough.
        limit: Most rows that are asked.

    Raises:
        InputError: The task is unknown, or its score is no share of right answers.
        ModelError: There is no such model.
    """
    task = find_task(task_name)
    scorer = task.scorer
    if isinstance(scorer, LikelihoodScorer) or not scorer.is_share or scorer.lower_is_better:
        raise InputError(
            f"The scorer {scorer.name} of {task.name} gives no share of right answers, so it cannot be held against "
            f"--target {target:g}. Name a task whose scorer judges answers, e.g. exact_match."
        )
    reporter.stage(f"Load {model_name}")
    source = find_model(model_name, None, reporter)
    template = ChatTemplate.from_tokenizer(load_tokenizer(source))
    contract = InferenceContract.from_template(
        template, base_model=model_name, generation_eos_ids=generation_eos_ids(source)
    )
    template.stop_ids = contract.stop_ids
    placement = place("auto", "auto")
    engine = BatchedEngine(load_causal_lm(source, placement.dtype, placement.device), batch_size=BATCH_ROWS)
    contenders = [Contender("base", engine, use_adapter=False)]
    if examples := tuple(task.few_shot()):
        contenders.append(Contender("few_shot", engine, use_adapter=False, examples=examples))
    reporter.stage(f"Ask {task.name}")
    result = run_task(task, contenders, contract=contract, template=template, limit=limit, reporter=reporter)
    return judge(result, target)


def judge(result: TaskResult, target: float) -> Baselines:
    """Hold the better contender's interval against the target."""
    best = max(result.contenders, key=lambda contender: contender.mean.mean)
    comparison = result.comparison("few_shot", "base") if "few_shot" in result else None
    verdict = against_target(best.mean, result.num_rows, target)
    return Baselines(
        result=result,
        best=TITLES[best.name],
        interval=best.mean,
        target=target,
        verdict=verdict,
        rows_needed=rows_that_tell(best.mean.mean, target) if verdict in ("unclear", "too few rows") else None,
        examples_effect=comparison.verdict if comparison else None,
        examples_measured=comparison.sentence() if comparison else None,
    )


def against_target(interval: Interval, num_rows: int, target: float) -> BaselineVerdict:
    """In a word what an interval allows to say."""
    if num_rows < MIN_ROWS:
        return "too few rows"
    if interval.low >= target:
        return "suffices"
    return "falls short" if interval.high < target else "unclear"


def rows_that_tell(share: float, target: float) -> int:
    """Rows at which a share's 95 % interval (normal approximation) no longer holds the target."""
    distance = abs(share - target)
    variance = max(share * (1 - share), target * (1 - target))
    needed = 1.96**2 * variance / distance**2 if distance else float(MOST_ROWS_NAMED)
    return int(min(MOST_ROWS_NAMED, max(MIN_ROWS, -(-needed // 1))))
