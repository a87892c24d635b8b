"""`luthier advise`: prompt, retrieve or fine-tune? What was said, what can be measured, the verdict, and how to go about it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.advise.decision import Decision, decide
from luthier.advise.method import Method, choose_method
from luthier.advise.recipe import recipe_text
from luthier.advise.rules import Statement, fired, load_rules, state
from luthier.advise.situation import DataKind, Situation
from luthier.config.load import load_recipe
from luthier.errors import InputError
from luthier.reporter import Reporter, Silent
from luthier.runs.atomic import write_text
from luthier.workflows.base_model import BaseModel, find_base_model, given_model, is_ready
from luthier.workflows.data_check import DataCheckResult, data_check
from luthier.workflows.plan import PlanRequest

if TYPE_CHECKING:
    from luthier.workflows.baselines import Baselines

CONFLICTS = ("conflicting_answers", "conflicting_labels", "conflicting_preferences")
OPTIONS = {
    "task": ("--task", ""), "few_shot_tried": ("--few-shot-tried yes", "--few-shot-tried no"),
    "prompt_suffices": ("--prompt-good-enough yes", "--prompt-good-enough no"),
    "fresh_knowledge": ("--needs-fresh-knowledge", "--no-fresh-knowledge"),
    "private_documents": ("--needs-private-documents", "--no-private-documents"),
    "volume": ("--volume", ""), "latency_ms": ("--latency", ""),
    **{name: (f"--{name.replace('_', '-')}", f"--no-{name.replace('_', '-')}") for name in (
        "inconsistent", "changes_often", "privacy", "style_only", "strict_format", "persona", "verifiable")},
}  # fmt: skip
"""How the command line says what a situation holds: yes, and no."""

DEFAULT_TARGET, DEFAULT_HOURS = 0.9, 12.0


@dataclass(frozen=True)
class AdviseRequest:
    """What is asked.

    Attributes:
        said: What the person said; what is measured wins over it.
        evaluation: A task, built in or a file; measured where a model is named too.
        target: Score from which on a prompt is good enough.
        eval_rows: Most questions of it that are asked.
        recipe: Where to write a recipe.
    """

    said: Situation = field(default_factory=Situation)
    data: tuple[str, ...] = ()
    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    evaluation: str | None = None
    model: str | None = None
    gpu: str = "here"
    licence: str | None = None
    hours: float = DEFAULT_HOURS
    target: float = DEFAULT_TARGET
    eval_rows: int | None = None
    recipe: Path | None = None

    def command(self, data: str) -> str:
        """The command line that says the same, with these data."""
        words = ["luthier advise"]
        for name, value in self.said.facts().items():
            if name in OPTIONS:
                yes, no = OPTIONS[name]
                option = yes if value is not False else no
                words += [option] if isinstance(value, bool) else [option, shlex.quote(str(value))]
        given = {"--eval": self.evaluation, "--model": self.model, "--licence": self.licence}
        given["--gpu"] = self.gpu if self.gpu != "here" else None
        words += [f"{option} {shlex.quote(value)}" for option, value in given.items() if value is not None]
        return " ".join([*words, *([f"--data {data}"] if data else [])])


@dataclass(frozen=True)
class AdviseResult:
    """The advice.

    Attributes:
        situation: All that is known, said and measured.
        method: How to train; None where that is not advised.
        base: The model to tune; None where training is not advised.
        recipe: The file that was written.
        recipe_fault: Why none was written though one was asked for; empty otherwise.
        notes: What a reader should know.
    """

    request: AdviseRequest
    situation: Situation
    decision: Decision
    method: Method | None
    base: BaseModel | None
    base_statements: tuple[Statement, ...]
    check: DataCheckResult | None
    baselines: Baselines | None
    recipe: Path | None
    recipe_fault: str
    notes: tuple[str, ...]

    @property
    def statements(self) -> tuple[Statement, ...]:
        """All sentences with their rules: verdict, flags, measurements, model, method, settings."""
        method = self.method.statements if self.method else ()
        return (*self.decision.statements, *self.base_statements, *method)

    @property
    def next_step(self) -> tuple[str, str]:
        """A command and what it is for."""
        data = shlex.join(self.request.data)
        if self.recipe is not None and self.base is not None and self.base.name is not None:
            if not is_ready(self.base.name):
                return f"luthier models fetch {self.base.name}", f"then: luthier train {shlex.quote(str(self.recipe))}"
            return f"luthier train {shlex.quote(str(self.recipe))}", "do it"
        if self.check is not None and not self.check.passed:
            return self.check.next_step, "repair the data first"
        if self.decision.tunes and self.method is not None and not self.method.missing and not self.request.recipe:
            return f"{self.request.command(data or 'FILE')} --recipe my.yaml", "the same as a recipe, ready to run"
        if self.baselines is None:
            asked = self.request.command(data)
            return f"{asked} --eval my_task.yaml --model NAME", "measure what prompting alone reaches"
        return "luthier advise --rules", "all rules with their sources"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            **self.decision.to_json(),
            "situation": self.situation.facts(),
            "statements": [statement._asdict() for statement in self.statements],
            "method": self.method.to_json() if self.method else None,
            "model": self.base.to_json() if self.base else None,
            "data_check": {"verdict": self.check.verdict, "counts": self.check.counts} if self.check else None,
            "baselines": self.baselines.to_json() if self.baselines else None,
            "recipe": str(self.recipe) if self.recipe else None,
            "recipe_fault": self.recipe_fault,
            "notes": list(self.notes),
            "next_step": self.next_step[0],
        }


def list_rules() -> list[dict[str, Any]]:
    """Every rule: when it holds, what it says and does, who says so."""
    return [
        {"id": r.id, "part": r.part, "when": dict(r.when), "says": r.says, "effect": r.effect, "source": r.source}
        for r in load_rules()
    ]


def said_in_words(words: Mapping[str, Any]) -> Situation:
    """A situation from what was said; ``yes`` and ``no`` become what they mean.

    Raises:
        InputError: A word is neither.
    """
    truth = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}
    said = dict(words)
    for name in ("few_shot_tried", "prompt_suffices"):
        value = said.get(name)
        if isinstance(value, str):
            if value.lower() not in truth:
                option = {"few_shot_tried": "--few-shot-tried", "prompt_suffices": "--prompt-good-enough"}[name]
                raise InputError(f"{option} takes yes or no, not '{value}'; leave it out where you do not know.")
            said[name] = truth[value.lower()]
    return Situation(**said)


def advise(request: AdviseRequest, reporter: Reporter | None = None) -> AdviseResult:
    """Measure what can be measured, decide, and say how.

    Raises:
        InputError: Nothing to go by, a file or task that is not there, or a recipe file that exists.
        ModelError: The model is not known.
        ResourceError: The card is not known.
    """
    reporter = reporter or Silent()
    _refuse(request)
    situation, notes = request.said, list[str]()
    check = (
        data_check(request.data, format=request.format, columns=request.columns, reporter=reporter)
        if request.data
        else None
    )
    if check is not None:
        situation = with_data(situation, check)
    baselines = _baselines(request, notes, reporter)
    situation = with_evaluation(situation, request.evaluation is not None, baselines)
    decision = decide(situation)
    method = base = None
    facts = situation.facts()
    if decision.tunes:
        base = _base_model(request, situation, reporter)
        facts |= base.facts
        method = choose_method(facts, decision)
        notes += base.notes
    recipe, fault = _recipe(request, method, base, check)
    return AdviseResult(
        request=request,
        situation=situation,
        decision=decision,
        method=method,
        base=base,
        base_statements=tuple(state(rule, facts) for rule in fired("model", facts)) if base else (),
        check=check,
        baselines=baselines,
        recipe=recipe,
        recipe_fault=fault,
        notes=tuple(notes),
    )


def _refuse(request: AdviseRequest) -> None:
    if request.said == Situation() and not request.data and request.evaluation is None:
        raise InputError(
            "Nothing was said of your wish, so there is nothing to go by. Say what is known, e.g. --data FILE, "
            "--few-shot-tried yes, --needs-fresh-knowledge, --strict-format (all: luthier advise --help), or run luthier advise "
            "alone in a terminal to be asked."
        )
    if request.recipe is not None and request.recipe.exists():
        raise InputError(f"{request.recipe} exists already. Name another file, or remove it.")
    if not 0 < request.target < 1:
        raise InputError(f"--target is a share between 0 and 1, e.g. 0.9, not {request.target:g}.")


def with_data(situation: Situation, check: DataCheckResult) -> Situation:
    """What the data check measured; it wins over what was said."""
    kinds: Mapping[str, int] = check.kinds
    kind: DataKind | None = max(kinds, key=lambda name: kinds[name]) if kinds else None  # type: ignore[assignment]
    conflicting = sum(finding.num_rows for finding in check.findings if finding.rule in CONFLICTS)
    errors = {finding.rule for finding in check.findings if finding.severity == "error"}
    return replace(
        situation,
        rows=check.num_rows,
        kind=kind,
        conflict_share=min(1.0, conflicting / check.num_rows) if check.num_rows else 0.0,
        data_errors=len(errors),
    )


def with_evaluation(situation: Situation, has_evaluation: bool, baselines: Baselines | None) -> Situation:
    """What was measured with prompts alone; it wins over what was said."""
    if not has_evaluation:
        return situation
    if baselines is None:
        return replace(situation, has_evaluation=True)
    told = {"suffices": True, "falls short": False}
    return replace(
        situation,
        has_evaluation=True,
        few_shot_tried=True if baselines.examples_effect else situation.few_shot_tried,
        prompt_suffices=told.get(baselines.verdict, situation.prompt_suffices),
        baseline=baselines.verdict,
        best=f"the {baselines.best}",
        measured=baselines.measured,
        target=baselines.target,
        rows_needed=baselines.rows_needed,
        num_eval_rows=baselines.result.num_rows,
        examples_effect=baselines.examples_effect,
        examples_measured=(baselines.examples_measured or "").rstrip(".") or None,
    )


def _baselines(request: AdviseRequest, notes: list[str], reporter: Reporter) -> Baselines | None:
    if request.evaluation is None:
        return None
    if request.model is None:
        notes.append("The evaluation was not run: name the model to ask with --model.")
        return None
    from luthier.workflows.baselines import measure_baselines

    return measure_baselines(
        request.evaluation, request.model, target=request.target, limit=request.eval_rows, reporter=reporter
    )


def _base_model(request: AdviseRequest, situation: Situation, reporter: Reporter) -> BaseModel:
    is_planned = situation.kind in ("chat", "text")
    wanted = PlanRequest(
        model="",
        gpu=request.gpu,
        data=request.data if is_planned else (),
        format=request.format,
        columns=tuple(request.columns.items()),
        num_rows=None if is_planned else situation.rows,
    )
    if request.model is not None:
        return given_model(request.model, wanted, reporter)
    facts = situation.facts()
    fast = {"green.latency", "green.cost", "green.distil"}
    is_small = any(rule.id in fast for rule in fired("green", facts))
    return find_base_model(
        wanted,
        task=situation.task,
        licence=request.licence,
        is_small=is_small,
        most_hours=request.hours,
        reporter=reporter,
    )


def _recipe(
    request: AdviseRequest, method: Method | None, base: BaseModel | None, check: DataCheckResult | None
) -> tuple[Path | None, str]:
    """Write the recipe where one was asked for and can be run; else why not."""
    if request.recipe is None:
        return None, ""
    if method is None or base is None:
        return None, "Training is not advised, so no recipe was written."
    if not request.data or check is None:
        return None, "A recipe needs data: --data FILE."
    if method.missing or method.parameters is None or base.name is None:
        return None, f"No recipe was written: {method.missing or 'no model fits this card'}."
    text = recipe_text(
        request.recipe,
        model=base.name,
        data=request.data,
        format=request.format,
        columns=request.columns,
        objective=method.objective,
        parameters=method.parameters,
        settings=method.settings,
        fitting=base.overrides.get(method.parameters, ()),
        tasks=(request.evaluation,) if request.evaluation else (),
    )
    write_text(request.recipe, text)
    load_recipe(request.recipe)  # what was written is a recipe, or this is our bug
    return request.recipe, ""
