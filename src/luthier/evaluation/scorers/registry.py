"""All scorers by name, with the options that a task file can give them.

scorer: numeric                                  # the name alone
scorer: {kind: numeric, tolerance: 0.01}         # with options
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from luthier.config.section import Section
from luthier.errors import InputError
from luthier.evaluation.protocol import LikelihoodScorer, Scorer
from luthier.evaluation.scorers.answered import Answered
from luthier.evaluation.scorers.bleu import Bleu, Chrf
from luthier.evaluation.scorers.classification import Classification
from luthier.evaluation.scorers.code import Code
from luthier.evaluation.scorers.exact_match import ExactMatch
from luthier.evaluation.scorers.instructions import Instructions
from luthier.evaluation.scorers.json_schema import JsonSchema
from luthier.evaluation.scorers.multiple_choice import MultipleChoice
from luthier.evaluation.scorers.normalised_match import NormalisedMatch
from luthier.evaluation.scorers.numeric import Numeric
from luthier.evaluation.scorers.perplexity import Perplexity
from luthier.evaluation.scorers.preference import Preference
from luthier.evaluation.scorers.refusal import Refusal
from luthier.evaluation.scorers.regex import Regex
from luthier.evaluation.scorers.rouge import Rouge
from luthier.evaluation.scorers.sql_execution import SqlExecution


class ExactMatchOptions(Section):
    """The answer equals the reference, apart from case, white space and a full stop."""

    kind: Literal["exact_match"]
    """Name of the scorer."""


class NormalisedMatchOptions(Section):
    """The same words as the reference: without punctuation, case and articles."""

    kind: Literal["normalised_match"]
    """Name of the scorer."""

    contains: bool = False
    """Whether it is enough that the reference stands somewhere in the answer."""


class NumericOptions(Section):
    """The number in the answer equals the reference's."""

    kind: Literal["numeric"]
    """Name of the scorer."""

    tolerance: float = Field(default=0.0, ge=0)
    """Difference that still counts as equal."""


class ClassificationOptions(Section):
    """The label that the answer names is the reference."""

    kind: Literal["classification"]
    """Name of the scorer."""

    labels: tuple[str, ...] = ()
    """All labels; without: those that occur in the references."""


class MultipleChoiceOptions(Section):
    """The right choice is the most probable (reference: {choices: COLUMN, answer: COLUMN})."""

    kind: Literal["multiple_choice"]
    """Name of the scorer."""

    prompt_format: Literal["chat", "text"] = "chat"
    """chat: choices answer the prompt as a chat; text: they go on from its bare text, as for a base model."""

    delimiter: str = " "
    """What stands between text and choice with prompt_format text."""


class JsonSchemaOptions(Section):
    """The answer is JSON that fits a schema: the reference, or one for all rows."""

    kind: Literal["json_schema"]
    """Name of the scorer."""

    schema_file: str | None = None
    """JSON file with the schema of all rows; relative paths start at the task file's folder."""


class SqlExecutionOptions(Section):
    """The SQL in the answer gives the same result as the reference SQL."""

    kind: Literal["sql_execution"]
    """Name of the scorer."""

    database: str
    """SQLite file that the queries run on; it is opened read-only."""


class CodeOptions(Section):
    """The Python code in the answer passes the row's tests (reference: {tests: COLUMN})."""

    kind: Literal["code"]
    """Name of the scorer."""

    seconds: float = Field(default=5.0, gt=0)
    """Time limit of one answer with its tests."""

    memory_mib: int = Field(default=1024, ge=64)
    """Limit of its memory in MiB."""


class RegexOptions(Section):
    """A regular expression matches the answer; with a group: what it catches is the reference."""

    kind: Literal["regex"]
    """Name of the scorer."""

    pattern: str | None = None
    """Python's syntax; without: each row's reference is the pattern."""

    whole: bool = False
    """Whether it must match the whole answer."""


class InstructionsOptions(Section):
    """The answer keeps to all rules of its row, such as {min_words: 50, no_commas: true}."""

    kind: Literal["instructions"]
    """Name of the scorer."""


class RougeOptions(Section):
    """ROUGE-L against the reference, with ROUGE-1 and ROUGE-2."""

    kind: Literal["rouge"]
    """Name of the scorer."""

    stem: bool = False
    """Whether words are cut to their English stems first."""


class BleuOptions(Section):
    """BLEU against the reference, by sentence and over all."""

    kind: Literal["bleu"]
    """Name of the scorer."""


class ChrfOptions(Section):
    """chrF2 against the reference, by sentence and over all."""

    kind: Literal["chrf"]
    """Name of the scorer."""


class PerplexityOptions(Section):
    """Bits per byte and perplexity of the reference; without a prompt, of running text."""

    kind: Literal["perplexity"]
    """Name of the scorer."""

    prompt_format: Literal["chat", "text"] = "chat"
    """chat: the reference answers the prompt as a chat; text: it goes on from its bare text."""


class PreferenceOptions(Section):
    """The chosen answer is more probable than the rejected one (reference: {chosen: COLUMN, rejected: COLUMN})."""

    kind: Literal["preference"]
    """Name of the scorer."""


class RefusalOptions(Section):
    """The model refuses where the reference says refuse, and only there."""

    kind: Literal["refusal"]
    """Name of the scorer."""

    phrases: tuple[str, ...] = ()
    """Regular expressions that mean a refusal, beside the English ones that are known."""


class AnsweredOptions(Section):
    """There is an answer; for questions without a reference."""

    kind: Literal["answered"]
    """Name of the scorer."""


ScorerOptions = Annotated[
    ExactMatchOptions
    | NormalisedMatchOptions
    | NumericOptions
    | ClassificationOptions
    | MultipleChoiceOptions
    | JsonSchemaOptions
    | SqlExecutionOptions
    | CodeOptions
    | RegexOptions
    | InstructionsOptions
    | RougeOptions
    | BleuOptions
    | ChrfOptions
    | PerplexityOptions
    | PreferenceOptions
    | RefusalOptions
    | AnsweredOptions,
    Field(discriminator="kind"),
]


class Given(NamedTuple):
    """What a scorer is made from.

    Attributes:
        options: One of `ScorerOptions`.
        folder: Where relative paths start.
        references: Of all rows of the task.
    """

    options: Any
    folder: Path
    references: Sequence[Any]


SCORERS: dict[str, Callable[[Given], Scorer | LikelihoodScorer]] = {
    "exact_match": lambda _: ExactMatch(),
    "normalised_match": lambda given: NormalisedMatch(contains=given.options.contains),
    "numeric": lambda given: Numeric(tolerance=given.options.tolerance),
    "classification": lambda given: Classification(given.options.labels or sorted({str(r) for r in given.references})),
    "multiple_choice": lambda given: MultipleChoice(
        prompt_format=given.options.prompt_format, delimiter=given.options.delimiter
    ),
    "json_schema": lambda given: JsonSchema(_read_schema(given.folder, given.options.schema_file)),
    "sql_execution": lambda given: _sql_execution(given.folder / given.options.database),
    "code": lambda given: Code(seconds=given.options.seconds, memory_bytes=given.options.memory_mib * 2**20),
    "regex": lambda given: Regex(given.options.pattern, whole=given.options.whole),
    "instructions": lambda _: Instructions(),
    "rouge": lambda given: Rouge(stem=given.options.stem),
    "bleu": lambda _: Bleu(),
    "chrf": lambda _: Chrf(),
    "perplexity": lambda given: Perplexity(prompt_format=given.options.prompt_format),
    "preference": lambda _: Preference(),
    "refusal": lambda given: Refusal(given.options.phrases),
    "answered": lambda _: Answered(),
}

WITHOUT_REFERENCE = ("answered", "json_schema", "regex")
"""Scorers that a row need not give a reference to."""


def build_scorer(options: Any, folder: Path, references: Sequence[Any]) -> Scorer | LikelihoodScorer:
    """The scorer that a task file asks for.

    Args:
        options: One of `ScorerOptions`.
        folder: Where relative paths start.
        references: Of all rows; some scorers learn their labels from them.

    Raises:
        InputError: A file that the options name cannot be read, or a pattern or schema is broken.
        MissingExtraError: The scorer needs a package that is not installed.
    """
    return SCORERS[options.kind](Given(options, folder, references))


def _read_schema(folder: Path, name: str | None) -> Any:
    if name is None:
        return None
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The scorer's schema {folder / name} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"The scorer's schema {folder / name} is not JSON: {error}.") from error


def _sql_execution(database: Path) -> SqlExecution:
    open_database: Callable[[], sqlite3.Connection] = partial(_open_read_only, database)
    try:
        open_database().close()
    except sqlite3.Error as error:
        raise InputError(f"The task's database {database} cannot be opened as a SQLite file: {error}.") from error
    return SqlExecution(open_database)


def _open_read_only(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    connection.execute("SELECT count(*) FROM sqlite_master")  # a file that is no database is only noticed when read
    return connection
