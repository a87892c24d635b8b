"""`luthier data inspect`: what files hold, before anything is trained on them. Nothing is judged here and nothing is changed.

Rows are not kept: two passes over the files, one to recognise, one to look. Lengths come from all rows up to
`MOST_MEASURED`, beyond that from a random sample of as many.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from luthier.data.any_rows import AnyItem, RecognisedFile, UnfitRows, read_again, recognise_files
from luthier.data.report import DroppedRow, list_rows
from luthier.data.row_lengths import LengthSummary, RowLength, summarise_lengths
from luthier.errors import DataError, InputError
from luthier.reporter import Reporter, Silent
from luthier.types import Conversation, Document, LabelledAnswer, Message, PreferencePair, Source

if TYPE_CHECKING:
    from luthier.data.template import ChatTemplate

DEFAULT_MODEL = "smollm2-135m-instruct"
MOST_MEASURED = 20_000
_MOST_LANGUAGES_SAMPLED = 300
_BATCH_ROWS = 100
_SILENT = Silent()


@dataclass(frozen=True)
class InspectedFile:
    """One file: its layout and the reason for it, rows, those that do not fit (the first ten), columns, and columns not read."""

    path: str
    format: str
    why: str
    num_rows: int
    num_unfit: int
    unfit: tuple[DroppedRow, ...]
    columns: tuple[str, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True)
class SystemPrompts:
    """System messages: rows that have one, different texts, and the five most frequent with their rows."""

    num_rows: int
    num_different: int
    most_frequent: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        files: In order.
        num_rows: Rows that fit.
        turns: User turns of a row → rows; none for running text.
        num_with_tools: Rows with tool calls or tool definitions.
        num_with_thinking: Rows with reasoning.
        system_prompts: What they are.
        languages: Language → rows of a sample, most frequent first; None stands for doubt.
        model: Whose tokenizer measured.
        model_max_length: Most tokens that the model was built for.
        lengths: None where no row could be measured.
        refused: Measured rows that the chat template refuses (the first ten), with `num_refused` of all.
        num_refused: Of those measured.
    """

    files: tuple[InspectedFile, ...]
    num_rows: int
    turns: tuple[tuple[int, int], ...]
    num_with_tools: int
    num_with_thinking: int
    system_prompts: SystemPrompts
    languages: tuple[tuple[str | None, int], ...]
    model: str
    model_max_length: int
    lengths: LengthSummary | None
    refused: tuple[DroppedRow, ...]
    num_refused: int

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def data_inspect(
    names: Sequence[str | Path],
    *,
    model: str = DEFAULT_MODEL,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> Inspection:
    """Look at files.

    Args:
        names: Files, folders, patterns.
        model: Name, folder or hub id of the model whose tokenizer and chat template measure.
        format: Layout to read; "auto" to recognise it.
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        InputError: No file is named.
        DataError: A file cannot be read, or its columns fit no layout at all.
        ModelError: There is no such model.
    """
    if not names:
        raise InputError("Name at least one data file.")
    reporter.stage("Recognise")
    files = recognise_files(names, format, columns or {}, reporter)
    reporter.stage(f"Load the tokenizer of {model}")
    template, model_max_length = load_template(model, reporter)
    reporter.stage("Look at rows")
    num_rows = sum(file.num_rows for file in files)
    looking = _Looking(template, num_rows)
    inspected = tuple(looking.read(file, reporter) for file in files)
    looking.measure()
    lengths = None
    if looking.lengths:
        fits = num_rows - sum(file.num_unfit for file in inspected)
        is_whole = num_rows <= MOST_MEASURED
        lengths = summarise_lengths(looking.lengths, len(looking.lengths) if is_whole else fits, [model_max_length])
    return Inspection(
        files=inspected,
        num_rows=looking.num_rows,
        turns=tuple(sorted(looking.turns.items())),
        num_with_tools=looking.num_with_tools,
        num_with_thinking=looking.num_with_thinking,
        system_prompts=SystemPrompts(
            sum(looking.systems.values()), len(looking.systems), tuple(looking.systems.most_common(5))
        ),
        languages=tuple(looking.languages().most_common()),
        model=model,
        model_max_length=model_max_length,
        lengths=lengths,
        refused=tuple(looking.refused[:10]),
        num_refused=len(looking.refused),
    )


def load_template(model: str, reporter: Reporter) -> tuple[ChatTemplate, int]:
    """A model's chat template with its tokenizer, and the most tokens that the model was built for."""
    from luthier.data.template import ChatTemplate
    from luthier.models.load import find_model, load_config, load_tokenizer

    source = find_model(model, None, reporter)
    most = int(load_config(source).get_text_config().max_position_embeddings)
    return ChatTemplate.from_tokenizer(load_tokenizer(source)), most


class _Looking:
    """Counts what rows hold; keeps rows only until a batch is measured."""

    def __init__(self, template: ChatTemplate, num_rows: int) -> None:
        self._template = template
        sampled = (
            range(num_rows) if num_rows <= MOST_MEASURED else random.Random(0).sample(range(num_rows), MOST_MEASURED)
        )
        self._measured = frozenset(sampled)
        step = max(1, num_rows // _MOST_LANGUAGES_SAMPLED)
        self._language_step = step
        self._texts: list[str] = []
        self._waiting: list[AnyItem] = []
        self._number = 0
        self.num_rows = self.num_with_tools = self.num_with_thinking = 0
        self.turns: Counter[int] = Counter()
        self.systems: Counter[str] = Counter()
        self.lengths: list[RowLength] = []
        self.refused: list[DroppedRow] = []

    def read(self, file: RecognisedFile, reporter: Reporter) -> InspectedFile:
        unfit = UnfitRows()
        for read in read_again(file, reporter, "look at"):
            number = self._number
            self._number += 1
            if read.item is None:
                unfit.add(read)
                continue
            self._see(read.item)
            if number % self._language_step == 0:
                self._texts.append(_written(read.item))
            if number in self._measured and file.format != "classification":
                self._waiting.append(read.item)
                if len(self._waiting) >= _BATCH_ROWS:
                    self.measure()
        return InspectedFile(
            file.path, file.format, file.why, file.num_rows, unfit.count, tuple(unfit.first), file.columns, file.unused
        )

    def _see(self, item: AnyItem) -> None:
        self.num_rows += 1
        if isinstance(item, Document):
            return
        messages = _messages(item)
        self.turns[sum(m.role == "user" for m in messages)] += 1
        tools = bool(item.tools) if isinstance(item, Conversation) else False
        self.num_with_tools += tools or any(m.tool_calls for m in messages)
        self.num_with_thinking += any(m.thinking or "<think>" in m.content for m in messages)
        self.systems.update(m.content for m in messages[:1] if m.role == "system")

    def measure(self) -> None:
        """Tokenise what waits, with the function that training tokenises with."""
        rows = [sequence for item in self._waiting for sequence in _sequences(item)]
        encoded = iter(self._template.encode_rows(rows))
        for item in self._waiting:
            views = [next(encoded) for _ in _sequences(item)]
            error = next((view for view in views if isinstance(view, DataError)), None)
            if error is not None:
                source = item.source or Source("row", self._number)
                self.refused.append(DroppedRow(source, str(error).removeprefix(f"{source}: ")))
                continue
            rendered = [r for view in views if not isinstance(view, DataError) for r in view]
            # The first token of a sequence has nothing before it that could predict it.
            trained = np.sort(np.concatenate([np.flatnonzero(r.trained[1:]) + 1 for r in rendered])).astype(np.int32)
            sizes = [len(r.ids) for r in rendered]
            self.lengths.append(RowLength(max(sizes), sum(sizes), trained, isinstance(item, Document)))
        self._waiting = []

    def languages(self) -> Counter[str | None]:
        """Of the answers in a sample."""
        from luthier.data.lint.language_mix import language_of, prose_of

        return Counter(language_of(prose_of(text)) for text in self._texts if text.strip())


def _messages(item: Conversation | PreferencePair | LabelledAnswer) -> tuple[Message, ...]:
    if isinstance(item, Conversation):
        return item.messages
    return (*item.prompt, *(item.chosen if isinstance(item, PreferencePair) else item.answer))


def _written(item: AnyItem) -> str:
    if isinstance(item, Document):
        return item.text
    return "\n".join(m.content for m in _messages(item) if m.role == "assistant")


def _sequences(item: AnyItem) -> list[Conversation | Document]:
    """What is tokenised of a row: of a preference pair the prompt with each answer."""
    if isinstance(item, Conversation | Document):
        return [item]
    prompt = tuple(replace(m, train=False) for m in item.prompt)
    answers = (item.chosen, item.rejected) if isinstance(item, PreferencePair) else (item.answer,)
    return [Conversation((*prompt, *answer), (), item.source) for answer in answers]


def unfit_words(file: InspectedFile) -> str:
    """The rows of a file that do not fit, one a line."""
    more = f"\n  … and {file.num_unfit - len(file.unfit)} more" if file.num_unfit > len(file.unfit) else ""
    return list_rows(file.unfit) + more
