"""What a task file says, and how it is read: strictly, with every fault and its line at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from luthier.config.problems import explain
from luthier.config.section import Section
from luthier.config.yaml_source import SourceText, read_yaml
from luthier.errors import RecipeError
from luthier.evaluation.scorers.registry import SCORERS, WITHOUT_REFERENCE, ScorerOptions
from luthier.evaluation.tasks.layouts import LAYOUTS

DRAWN_TEMPERATURE = 0.8
"""Of several samples to one question, where the task names none: what pass@k is usually measured with."""


class TaskFile(Section):
    """What a task file says."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the task; names a folder too, so: letters, digits, dot, dash, underscore."""

    data: str
    """File with the questions."""

    layout: Literal["gsm8k", "mbpp", "banking77", "wikisql", "mt_bench"] | None = None
    """A data set whose files are known: gives all that is not said here."""

    prompt: str | None = None
    """Column with the question as text or as a list of messages; or a text with columns in braces: "Translate: {english}"."""

    reference: str | dict[str, str] | None = None
    """Column with the right answer; scorers that need several take a mapping: {choices: options, answer: gold}."""

    scorer: ScorerOptions
    """How answers are judged: a name, or {kind: name, option: value}."""

    answer: str | None = None
    """Column (or text with columns in braces) with the answer that worked examples show; without: the reference."""

    system_prompt: str | None = None
    """System message for all questions; columns in braces are filled in. Without: the rows' own, else the run's."""

    examples: str | int | None = None
    """Worked examples for the base model: a file with the same columns, or a number: the first rows, which are not asked then."""

    follow_ups: str | None = None
    """Column with a list of further questions, each asked after the model's answer to the one before."""

    slices: tuple[str, ...] = ()
    """Columns whose values name groups of rows."""

    limit: int | None = Field(default=None, ge=1)
    """Most rows that are asked: a sample, the same whatever the order of the file."""

    max_new_tokens: int = Field(default=128, ge=1)
    """Longest answer, in tokens."""

    samples: int = Field(default=1, ge=1)
    """Answers to each question; more than one are drawn, and the mean of their scores counts."""

    temperature: float | None = Field(default=None, ge=0)
    """Of drawn answers. Without: 0 for one sample (the most probable tokens), 0.8 for several."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Only the most probable tokens that together reach this share are drawn from."""

    pass_at: tuple[int, ...] = ()
    """The k of pass@k, each at most `samples`."""

    seed: int = Field(default=0, ge=0)
    """Makes drawn answers repeat."""

    @model_validator(mode="after")
    def _fits_together(self) -> TaskFile:
        kind = self.scorer.kind
        may_lack_reference = kind in WITHOUT_REFERENCE
        if self.reference is None and not may_lack_reference:
            raise ValueError(f"reference: missing. The scorer {kind} compares with the column that it names")
        if self.prompt is None and kind != "perplexity":
            raise ValueError("prompt: missing. Column with the question, or a text with columns in braces")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"{self.samples} samples at temperature 0 are all the same; raise temperature, or samples: 1"
            )
        if any(not 1 <= k <= self.samples for k in self.pass_at):
            raise ValueError(
                f"pass_at {list(self.pass_at)} needs at least as many samples, but samples is {self.samples}"
            )
        return self

    @property
    def drawn_at(self) -> float:
        """The temperature, resolved."""
        if self.temperature is not None:
            return self.temperature
        return DRAWN_TEMPERATURE if self.samples > 1 else 0.0


def read_task_file(path: Path) -> TaskFile:
    """Read a task file.

    Raises:
        RecipeError: It is missing or wrong; every problem with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError([f"The task file {path} cannot be read: {error.strerror}."], where=str(path)) from error
    except UnicodeDecodeError as error:
        raise RecipeError([f"{path} is not UTF-8 text (byte {error.start})."], where=str(path)) from error
    source = read_yaml(text)
    problems = [f"{path}:{line}: {words}" for line, words in source.problems]
    if not isinstance(source.data, dict):
        problems = problems or [f"{path}:1: a task file is a mapping of keys. It needs: {_NEEDED}."]
        raise RecipeError(problems, where=str(path))
    said = in_full(source.data)
    try:
        settings = TaskFile.model_validate(said)
    except ValidationError as error:
        for problem in explain(error, TaskFile, said):
            message = problem.message.replace("the recipe:", "the task:", 1)
            problems.append(f"{path}:{_line(source, problem.path)}: {message}")
        raise RecipeError(problems, where=str(path)) from error
    if problems:
        raise RecipeError(problems, where=str(path))
    return settings


_NEEDED = f"name, data, prompt, reference, scorer (one of {', '.join(SCORERS)})"


def in_full(given: dict[str, Any]) -> dict[str, Any]:
    """What is said, over what the layout says, and a scorer's name alone as its kind."""
    layout = LAYOUTS.get(str(given.get("layout")))
    settings = {**layout.settings, **given} if layout else dict(given)
    if isinstance(settings.get("scorer"), str):
        settings["scorer"] = {"kind": settings["scorer"]}
    return settings


def _line(source: SourceText, path: tuple[str | int, ...]) -> int:
    return next((source.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in source.lines), 1)
