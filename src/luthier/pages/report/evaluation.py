"""The evaluation part of the report: contenders, differences, groups of questions, and the answers themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from luthier.pages.report.chart import Bar
from luthier.pages.report.figures import (
    ConfusionView,
    FigureView,
    OverlapView,
    read_confusions,
    read_figures,
    read_overlap,
)
from luthier.pages.report.scale import Scale
from luthier.pages.report.words import answer_text, number, page_bytes, percent, shortened, text_of
from luthier.runs.folder import RunFolder

Outcome = Literal["regression", "fixed", "wrong", "right"]
# In the order of interest: what got worse, what is still wrong, what got better, what was right all along.
OUTCOMES: tuple[Outcome, ...] = ("regression", "wrong", "fixed", "right")
MOST_EXAMPLES = 240
EXAMPLES_BYTES = 600_000


@dataclass(frozen=True)
class ContenderView:
    """One contender's score."""

    name: str
    title: str
    mean: float
    bar: Bar
    score: str
    interval: str
    stopped: str
    empty: str
    answer_tokens: str


@dataclass(frozen=True)
class DifferenceView:
    """One paired comparison; `scale` holds where zero, mean and interval lie, in percent."""

    title: str
    points: str
    interval: str
    verdict: str
    needed: str
    test: str
    mean_percent: float
    low_percent: float
    high_percent: float


@dataclass(frozen=True)
class GroupView:
    """Scores of all contenders in one group of questions: (score in words, bar) for each.

    Attributes:
        change: Tuned minus base, shrunk, in words; empty where it is not known.
    """

    name: str
    num_rows: int
    cells: tuple[tuple[str, Bar], ...]
    change: str


@dataclass(frozen=True)
class SliceView:
    """One way to group the questions."""

    name: str
    groups: tuple[GroupView, ...]


@dataclass(frozen=True)
class AnswerView:
    """One answer to one question; `is_right` is None where scores know neither right nor wrong."""

    contender: str
    title: str
    text: str
    is_right: bool | None
    score: str
    why: str
    was_cut: bool


@dataclass(frozen=True)
class ExampleView:
    """One question with all answers to it.

    Attributes:
        lost_to: Names of the contenders whose answer is better than the tuned model's.
        against: The same in words.
        loss: Difference to the best of them.
    """

    id: str
    question: str
    reference: str
    slices: str
    outcome: Outcome
    lost_to: tuple[str, ...]
    against: str
    loss: float
    answers: tuple[AnswerView, ...]


@dataclass(frozen=True)
class TaskView:
    """One evaluated task. `summary` is the record itself, for the verdict.

    Attributes:
        knows_right: Whether an answer is right or wrong; else one is better or worse than another.
    """

    name: str
    metric: str
    summary: Mapping[str, Any]
    scale: Scale
    num_rows: int
    contenders: tuple[ContenderView, ...]
    differences: tuple[DifferenceView, ...]
    slices: tuple[SliceView, ...]
    figures: tuple[FigureView, ...]
    confusions: tuple[ConfusionView, ...]
    overlap: OverlapView | None
    examples: tuple[ExampleView, ...]
    counts: Mapping[Outcome, int]
    num_lost_to_examples_only: int
    prompts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    knows_right: bool = True

    @property
    def num_answered(self) -> int:
        """Questions with answers, shown or not."""
        return sum(self.counts.values())


def read_tasks(folder: RunFolder) -> list[TaskView] | None:
    """All evaluations of a run; None where there is none."""
    names = sorted(path.parent.name for path in (folder / "evaluation").glob("*/summary.json"))
    return [_task(folder, name) for name in names] or None


def _task(folder: RunFolder, name: str) -> TaskView:
    summary = folder.read_json(f"evaluation/{name}/summary.json")
    metric = summary["metric"]
    contenders = summary["contenders"]
    titles = {key: entry["title"] for key, entry in contenders.items()}
    scale = Scale.of(summary)
    knows_right = scale.is_share and not summary.get("is_graded", False)
    lines = folder.read_lines(f"evaluation/{name}/rows.jsonl")
    examples = list(_examples(lines, titles, scale, knows_right=knows_right))
    return TaskView(
        name=summary["task"],
        metric=metric.replace("_", " "),
        summary=summary,
        scale=scale,
        num_rows=summary["num_rows"],
        contenders=tuple(_contender(key, entry, entry[metric], scale) for key, entry in contenders.items()),
        differences=tuple(_difference(c, titles, scale) for c in summary["comparisons"]),
        slices=tuple(_slices(summary, scale)),
        figures=read_figures(contenders),
        confusions=read_confusions(contenders),
        overlap=read_overlap(summary, titles, scale),
        examples=tuple(chosen_examples(examples)),
        counts=Counter(example.outcome for example in examples),
        num_lost_to_examples_only=sum(bool(e.lost_to) and "base" not in e.lost_to for e in examples),
        prompts=tuple(_first_prompts(folder.read_lines(f"evaluation/{name}/rows.jsonl"), titles)),
        notes=tuple(str(note) for note in summary.get("notes", ())),
        knows_right=knows_right,
    )


def _contender(name: str, entry: Mapping[str, Any], mean: float, scale: Scale) -> ContenderView:
    return ContenderView(
        name=name,
        title=sentence_case(entry["title"]),
        mean=mean,
        bar=scale.bar(mean, entry["low"], entry["high"]),
        score=scale.score(mean, 1),
        interval=scale.score_interval(entry["low"], entry["high"]),
        stopped=percent(entry["share_stopped"]) if "share_stopped" in entry else "",
        empty=number(entry["num_empty"]) if "num_empty" in entry else "",
        answer_tokens=number(round(entry["mean_answer_tokens"], 1)) if "mean_answer_tokens" in entry else "",
    )


def sentence_case(text: str) -> str:
    """First letter large, the rest as it is."""
    return text[:1].upper() + text[1:]


def _difference(comparison: Mapping[str, Any], titles: Mapping[str, str], scale: Scale) -> DifferenceView:
    mean, low, high = (comparison["difference"][key] for key in ("mean", "low", "high"))
    undecided = comparison["verdict"] in ("no evidence", "too few rows")
    needed = comparison.get("rows_needed")
    p_value = comparison.get("p_value")
    return DifferenceView(
        title=f"{sentence_case(titles[comparison['first']])} − {titles[comparison['second']]}",
        points=scale.difference(mean, 1),
        interval=scale.interval(low, high, 1),
        verdict=comparison["verdict"],
        needed=f"about {number(needed)} questions would show a difference of this size" if undecided and needed else "",
        test="" if p_value is None else f"p = {number(float(f'{p_value:.2g}'))}, {comparison['test']}",
        mean_percent=scale.place(mean),
        low_percent=scale.place(low),
        high_percent=scale.place(high),
    )


def _slices(summary: Mapping[str, Any], scale: Scale) -> Iterable[SliceView]:
    contenders = summary["contenders"]
    first = next(iter(contenders.values()))
    changes = next((c.get("slices", {}) for c in summary["comparisons"] if c["second"] == "base"), {})
    for slice_name, groups in first.get("slices", {}).items():
        views = []
        for group, entry in groups.items():
            means = [c["slices"][slice_name][group]["mean"] for c in contenders.values()]
            cells = tuple((scale.score(mean), scale.bar(mean, mean, mean)) for mean in means)
            change = changes.get(slice_name, {}).get(group)
            words = (
                f"{scale.difference(change['shrunk'])} ({scale.interval(change['low'], change['high'])})"
                if change
                else ""
            )
            views.append(GroupView(group, entry["num_rows"], cells, words))
        yield SliceView(slice_name, tuple(views))


def _examples(
    lines: Iterable[Mapping[str, Any]], titles: Mapping[str, str], scale: Scale, *, knows_right: bool
) -> Iterable[ExampleView]:
    by_id: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        by_id.setdefault(line["id"], []).append(line)
    for row_id, answers in by_id.items():
        first = answers[0]
        scores = {a["contender"]: -a["score"] if scale.lower_is_better else a["score"] for a in answers}
        lost_to = ahead_of_tuned(scores)
        yield ExampleView(
            id=row_id,
            question=shortened(first["question"]),
            reference=shortened(text_of(first["reference"])),
            slices=" · ".join(f"{name}: {group}" for name, group in first["slices"].items()),
            outcome=outcome(scores),
            lost_to=lost_to,
            against=" and ".join(titles[name] for name in lost_to),
            loss=max((scores[name] - scores["tuned"] for name in lost_to), default=0.0),
            answers=tuple(
                AnswerView(
                    contender=a["contender"],
                    title=sentence_case(titles[a["contender"]]),
                    text=_shown_answer(a),
                    is_right=a["score"] >= 1 if knows_right else None,
                    score="" if not scale.is_share or (knows_right and a["score"] in (0, 1)) else percent(a["score"]),
                    why=shortened(a["why"], 400),
                    was_cut=a["finish_reason"] == "length",
                )
                for a in answers
            ),
        )


def _shown_answer(line: Mapping[str, Any]) -> str:
    """The answer; what was measured without one says so."""
    if line["finish_reason"] is None:
        return f"most probable: {shortened(line['answer'])}" if line["answer"] else "(measured, nothing was generated)"
    return answer_text(line["answer"])


def ahead_of_tuned(scores: Mapping[str, float]) -> tuple[str, ...]:
    """What was there before tuning and answers better than the tuned model: a rival that does so is no loss by tuning."""
    before = [name for name in ("base", "few_shot") if name in scores and "tuned" in scores]
    return tuple(name for name in before if scores[name] > scores["tuned"])


def outcome(scores: Mapping[str, float]) -> Outcome:
    """What tuning did to one question.

    A question that any other contender answers better is a regression: what a few examples in the prompt get right and tuning
    gets wrong is lost as much as what the bare base model had right. Better than the base model is fixed.
    """
    tuned = scores.get("tuned", 0.0)
    if ahead_of_tuned(scores):
        return "regression"
    if tuned > scores.get("base", tuned):
        return "fixed"
    return "right" if tuned >= 1 else "wrong"


def chosen_examples(examples: Sequence[ExampleView]) -> list[ExampleView]:
    """As many as the page has room for: some of each outcome, the worst regressions first."""
    worst_first = sorted(examples, key=lambda e: (-e.loss, "base" not in e.lost_to))
    by_outcome = {name: [e for e in worst_first if e.outcome == name] for name in OUTCOMES}
    share = MOST_EXAMPLES // len(OUTCOMES)
    in_order = [e for name in OUTCOMES for e in by_outcome[name][:share]]
    in_order += [e for name in OUTCOMES for e in by_outcome[name][share:]]
    kept: list[ExampleView] = []
    room = EXAMPLES_BYTES
    for example in in_order[:MOST_EXAMPLES]:
        texts = [t for a in example.answers for t in (a.title, a.text, a.why)]
        room -= page_bytes(example.question, example.reference, *texts) + 900
        if room < 0:
            break
        kept.append(example)
    return sorted(kept, key=lambda e: OUTCOMES.index(e.outcome))


def _first_prompts(lines: Iterable[Mapping[str, Any]], titles: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """The exact text each contender got for the first question."""
    seen: set[str] = set()
    for line in lines:
        if line["contender"] not in seen:
            seen.add(line["contender"])
            yield sentence_case(titles[line["contender"]]), shortened(line["prompt"], 12_000)
        if len(seen) == len(titles):
            return
