"""Which layout rows have, and how a row of that layout becomes a `Conversation` or a `Document`.

The layouts are those of `layouts.py`. Where rows fit several, the first of their order that fits at least half of them is
taken, and `RowFormat.why` says so. `columns` (``{part: column}``) maps other names, and nothing else overrides what the
columns say. What one message may hold is the business of `messages.py`.

Rows that compare or judge answers, and texts with a class, are recognised too, to be refused with what to do: to imitate all of
their answers is not what they are for.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from luthier.data.layouts import LAYOUTS, TEXT_COLUMNS, Values, document_text
from luthier.data.messages import BadRowError, read_weight
from luthier.data.preferences import LABEL_COLUMNS, PREFERENCE_COLUMNS, PROMPT_COLUMNS, is_labelled
from luthier.data.row import Row
from luthier.errors import DataError
from luthier.types import Conversation, Document, Finding, Message

Item = Conversation | Document
T = TypeVar("T")

MOST_MESSAGES = 100_000
"""Most messages in a conversation: no model has so long a memory, so such a row is a mistake."""

ROW_WEIGHT = "loss_weight"
"""Column that says how much a row's answers count beside others. Not ``weight``: that may be any column of a data author's."""

CLASS_COLUMNS = ("label", "labels", "label_text", "intent", "sentiment", "category", "class")
_CLASSIFIED_COLUMNS = (*TEXT_COLUMNS, "sentence", "utterance", "review", "tweet", "title")
CLASSIFIED_PARTS = frozenset((*CLASS_COLUMNS, *_CLASSIFIED_COLUMNS))


class RowFormat(NamedTuple):
    """What was recognised: the layout's name, the reason in words, and the conversion (raises `BadRowError`)."""

    name: str
    why: str
    to_item: Callable[[Row], Item]
    unused: tuple[str, ...]


class Converted(NamedTuple, Generic[T]):
    """Rows that fit, and one error finding for each row that does not."""

    items: list[T]
    problems: list[Finding]


class _Possible(NamedTuple):
    """What a row can be by the columns that it has alone; rows of a file mostly have the same."""

    layouts: tuple[str, ...]
    preference: bool
    labelled: bool
    classified: bool

    @classmethod
    def of(cls, present: Sequence[str]) -> _Possible:
        there = set(present)
        layouts = tuple(name for name, layout in LAYOUTS.items() if any(there.issuperset(n) for n in layout.needed))
        return cls(
            layouts,
            any(there.issuperset(pair) for pair in PREFERENCE_COLUMNS),
            not there.isdisjoint(LABEL_COLUMNS),
            not there.isdisjoint(CLASS_COLUMNS),
        )


class Survey:
    """Counts which rows fit which layout, row by row: what has to be known of a file before its rows can be read.

    Attributes:
        columns: Those that occur, in order.
        coverage: Rows that fit each layout.
        num_preferences: Rows with a better and a worse answer.
        num_labelled: Rows with an answer and a verdict.
        num_classified: Rows with a text and a class.
    """

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        self.mapping = dict(columns or {})
        self.file = "data"
        self.num_rows = 0
        self.columns: dict[str, None] = {}
        self.coverage = dict.fromkeys(LAYOUTS, 0)
        self.num_preferences = self.num_labelled = self.num_classified = 0
        self._by_columns: dict[tuple[str, ...], _Possible] = {}

    def add(self, row: Row) -> None:
        """Look at a row."""
        if not self.num_rows:
            self.file = row.source.file
        self.num_rows += 1
        self.columns.update(dict.fromkeys(row.value))
        view = renamed(row.value, self.mapping)
        present = tuple(name for name, value in view.items() if value is not None)
        may = self._by_columns.get(present)
        if may is None:
            self._by_columns[present] = may = _Possible.of(present)
        for name in may.layouts:
            self.coverage[name] += LAYOUTS[name].item_key is None or LAYOUTS[name].fits(view)
        self.num_preferences += may.preference
        self.num_labelled += may.labelled and is_labelled(view)
        self.num_classified += may.classified and classified_columns(view) is not None

    def is_mostly(self, count: int) -> bool:
        """Whether that many rows are half of all or more."""
        return count > 0 and count * 2 >= self.num_rows


def survey(rows: Iterable[Row], columns: Mapping[str, str] | None = None) -> Survey:
    """Look at all rows."""
    seen = Survey(columns)
    for row in rows:
        seen.add(row)
    return seen


def recognise(rows: Iterable[Row], format: str = "auto", columns: Mapping[str, str] | None = None) -> RowFormat:
    """Find the layout of `rows`.

    Args:
        rows: All rows of one file; every one is looked at.
        format: A layout's name to insist on it; "auto" to go by the columns.
        columns: ``{part: column}`` where names differ, e.g. ``{"prompt": "question", "completion": "answer"}``.

    Raises:
        DataError: No layout fits, or `columns` names a part or a column that does not exist.
    """
    return decide(survey(rows, columns), format)


def decide(seen: Survey, format: str = "auto") -> RowFormat:
    """As `recognise`, from a survey."""
    found, columns = list(seen.columns), seen.mapping
    candidates = _candidates(format, columns, found)
    fitting = [name for name in candidates if seen.coverage[name]]
    other = other_kind(seen) if format == "auto" and not columns else None
    if other == "preference":
        fitting = [name for name in fitting if name in _BESIDE_PREFERENCES]
    if other in ("kto", "classification") or not fitting:
        raise DataError(_nothing_fits(seen, candidates, format, other))
    common = [name for name in fitting if seen.is_mostly(seen.coverage[name])]
    chosen = common[0] if common else max(fitting, key=lambda name: seen.coverage[name])
    unused = _unused(chosen, found, columns)
    coverage = {name: seen.coverage[name] for name in candidates}
    why = _why(chosen, format, columns, coverage, seen.num_rows, unused)
    if other == "preference":
        why += "; the rows are preference pairs too"
    return RowFormat(chosen, why, _converter(chosen, columns), unused)


def other_kind(seen: Survey) -> str | None:
    """What most rows are that is not to be imitated: preference, kto or classification; else None."""
    if seen.is_mostly(seen.num_preferences):
        return "preference"
    if seen.is_mostly(seen.num_labelled):
        return "kto"
    speaks = any(seen.is_mostly(count) for name, count in seen.coverage.items() if name != "text")
    return "classification" if seen.is_mostly(seen.num_classified) and not speaks else None


def classified_columns(values: Values) -> tuple[str, str] | None:
    """The columns with a text and its class, where a row has both."""
    text = next((name for name in _CLASSIFIED_COLUMNS if isinstance(values.get(name), str)), None)
    label = next((name for name in CLASS_COLUMNS if isinstance(values.get(name), str | int)), None)
    return (text, label) if text and label else None


def convert(rows: Sequence[Row], row_format: RowFormat) -> Converted[Item]:
    """Convert every row; those that do not fit come back as findings with their place and reason."""
    return convert_with(rows, row_format.to_item)


def convert_with(rows: Sequence[Row], to_item: Callable[[Row], T]) -> Converted[T]:
    """As `convert`, for rows of any kind."""
    items: list[T] = []
    problems: list[Finding] = []
    for row in rows:
        try:
            items.append(to_item(row))
        except BadRowError as bad:
            problems.append(
                Finding(
                    "row_does_not_fit", "error", (row.source,), str(bad), "Correct the row or remove it from the file."
                )
            )
    return Converted(items, problems)


def _converter(name: str, columns: Mapping[str, str]) -> Callable[[Row], Item]:
    layout = LAYOUTS[name]

    def to_item(row: Row) -> Item:
        values = renamed(row.value, columns)
        if layout.convert is None:
            return Document(document_text(values), row.source)
        messages, tools = layout.convert(values)
        messages = _weighted(messages, read_weight(values, (ROW_WEIGHT,), "the row"))
        if not any(m.role == "assistant" for m in messages):
            raise BadRowError(f"no assistant turn among {len(messages)} messages: there is nothing to learn")
        if not any(m.is_trained for m in messages):
            raise BadRowError("every assistant turn has weight 0: there is nothing to learn")
        if len(messages) > MOST_MESSAGES:
            raise BadRowError(
                f"{len(messages):,} messages, at most {MOST_MESSAGES:,} can be one conversation; cut it into several rows"
            )
        return Conversation(messages, tools, row.source)

    return to_item


def _weighted(messages: tuple[Message, ...], factor: float | None) -> tuple[Message, ...]:
    """All learnt turns of a row that counts `factor` times as much as others."""
    if factor is None or factor == 1:
        return messages
    if factor == 0:
        raise BadRowError(f"{ROW_WEIGHT} is 0: there is nothing to learn; leave the row out")
    return tuple(replace(m, weight=factor * (m.weight or 1.0)) if m.is_trained else m for m in messages)


def renamed(value: Values, columns: Mapping[str, str]) -> Values:
    """The row by parts: mapped columns under their part's name alone."""
    if not columns:
        return value
    taken = set(columns.values()) | set(columns)
    view = {name: inner for name, inner in value.items() if name not in taken}
    view.update({part: value.get(column) for part, column in columns.items()})
    return view


# Beside chosen and rejected, these hold an answer of their own that is the one to imitate.
_BESIDE_PREFERENCES = ("alpaca", "prompt_completion")

# Names that often play a part under another name: only to suggest a mapping, never to apply one.
_SUGGESTIONS = (
    ("alpaca", "instruction", ("instruction",), "output", ("response", "answer", "completion", "target")),
    (
        "prompt_completion",
        "prompt",
        ("prompt", "question", "query", "input", "instruction", "source", "user"),
        "completion",
        ("completion", "answer", "response", "output", "target", "sql", "code", "label", "assistant", "reply"),
    ),
)


# --- words --------------------------------------------------------------------------------------------------------


def _candidates(format: str, columns: Mapping[str, str], found: list[str]) -> list[str]:
    if format != "auto" and format not in LAYOUTS:
        raise DataError(f"data.format: '{format}' is not known; known: auto, {', '.join(LAYOUTS)}")
    candidates = list(LAYOUTS) if format == "auto" else [format]
    parts = list(dict.fromkeys(part for name in candidates for part in LAYOUTS[name].parts))
    for part, column in columns.items():
        if part not in parts:
            raise DataError(f"data.columns: there is no part '{part}'{_meant(part, parts)}; parts: {', '.join(parts)}")
        if column not in found:
            raise DataError(
                f"data.columns: {part} is mapped to the column '{column}', which the rows do not have"
                f"{_meant(column, found)}; columns found: {', '.join(found)}"
            )
    mapped = [name for name in candidates if set(columns) <= set(LAYOUTS[name].parts)]
    if not mapped:
        raise DataError(f"data.columns: no layout has all of the parts {', '.join(columns)}; {_expected(candidates)}")
    return mapped


def _unused(chosen: str, found: list[str], columns: Mapping[str, str]) -> tuple[str, ...]:
    layout = LAYOUTS[chosen]
    there = {*found, *columns}
    # Of sets of names that stand for one another, the first that is there is read.
    parts = next((needed for needed in layout.needed if there.issuperset(needed)), layout.needed[0])
    read = ({*parts, *layout.optional} - set(columns)) | set(columns.values())
    if layout.convert is not None:
        read.add(ROW_WEIGHT)
    return tuple(name for name in found if name not in read)


def _why(
    chosen: str, format: str, columns: Mapping[str, str], coverage: Mapping[str, int], total: int, unused: Sequence[str]
) -> str:
    words = [f"{chosen}: {coverage[chosen]} of {total} rows have the columns it needs"]
    if format != "auto":
        words[0] += f" (asked for by data.format: {format})"
    if columns:
        words.append("mapped by data.columns: " + ", ".join(f"{part} ← {column}" for part, column in columns.items()))
    others = [name for name, count in coverage.items() if count and name != chosen]
    if others:
        words.append(f"{' and '.join(others)} would fit too; {chosen} was taken by the order {' → '.join(LAYOUTS)}")
    if unused:
        words.append(f"columns not used: {', '.join(unused)}")
    return "; ".join(words)


def _nothing_fits(seen: Survey, names: Sequence[str], format: str, other: str | None) -> str:
    found = list(seen.columns)
    if other is not None:
        return _other_words(seen.file, other, found)
    asked = "any known layout" if format == "auto" else f"the layout '{format}'"
    lines = [f"{seen.file}: the columns do not fit {asked}. Columns found: {', '.join(found) or 'none'}."]
    lines.append(_expected(names))
    parts = list(dict.fromkeys(part for name in names for part in LAYOUTS[name].parts))
    typos = [(name, close) for name in found if name not in parts and (close := _close(name, parts))]
    lines += [f"Did you mean '{close}' where the file says '{name}'?" for name, close in typos]
    lines.append(f"Other names are mapped in the recipe, e.g. data.columns: {_suggested_mapping(found, names)}")
    return "\n".join(lines)


def _other_words(file: str, kind: str, found: Sequence[str]) -> str:
    """What rows are that are not for imitation, and what can be done with them."""
    columns = f"Columns found: {', '.join(found)}."
    if kind == "preference":
        better = next(pair for pair in PREFERENCE_COLUMNS if set(pair) <= set(found))[0]
        prompt = next((name for name in PROMPT_COLUMNS if name in found), None)
        mapping = (
            f", or data.columns: {{prompt: {prompt}, completion: {better}}} where both are texts" if prompt else ""
        )
        return (
            f"{file}: the rows are preference pairs (a chosen and a rejected answer). {columns}\n"
            "objective.name: dpo, orpo, simpo or cpo learn from them as they are. "
            f"To imitate the chosen answers: luthier data convert {file} OUT.jsonl --to messages --allow-loss{mapping}."
        )
    if kind == "kto":
        return (
            f"{file}: the rows are answers labelled good or bad (KTO's layout): learning them all would imitate the bad ones "
            f"too. {columns}\nobjective.name: kto learns from them as they are. "
            f"To imitate the good ones: luthier data convert {file} OUT.jsonl --to messages --allow-loss. "
            "If the label means something else, name the layout: data.format."
        )
    text = next(name for name in _CLASSIFIED_COLUMNS if name in found)
    label = next(name for name in CLASS_COLUMNS if name in found)
    return (
        f"{file}: the rows are texts with a class. {columns}\nTo learn to write the class, say so: data.columns: "
        f"{{prompt: {text}, completion: {label}}} (numbers must be written as words first). To learn the text alone: "
        "data.format: text."
    )


def _suggested_mapping(found: Sequence[str], names: Sequence[str]) -> str:
    lower = {name.lower(): name for name in found}
    for layout, asked, asked_names, answered, answer_names in _SUGGESTIONS:
        question = next((lower[n] for n in asked_names if n in lower), None)
        answer = next((lower[n] for n in answer_names if n in lower and lower[n] != question), None)
        if layout in names and question and answer:
            return f"{{{asked}: {question}, {answered}: {answer}}}"
    return "{prompt: your_question_column, completion: your_answer_column}"


def _expected(names: Sequence[str]) -> str:
    lines = ["Expected one of:"]
    for name in names:
        layout = LAYOUTS[name]
        needed = " or ".join(", ".join(parts) for parts in layout.needed)
        items = f" (a list of objects with '{layout.item_key}')" if layout.item_key else ""
        optional = f"; optional: {', '.join(layout.optional)}" if layout.optional else ""
        lines.append(f"  {name:<18} {needed}{items}{optional}")
    return "\n".join(lines)


def _close(name: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)), None)


def _meant(name: str, known: Sequence[str]) -> str:
    close = _close(name, known)
    return f" (did you mean '{close}'?)" if close else ""
