"""Which kind of rows an objective learns from, and the refusal of files that hold another kind.

    conversations   chats, prompts with answers, and texts among them: what is imitated
    documents       running text alone
    pairs           a chosen and a rejected answer to a prompt
    labelled        an answer and whether it is good

A file of the wrong kind is refused before anything is tokenised, with the layout that was found and the objectives that fit it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from luthier.data.formats import Survey, decide, other_kind, recognise, renamed, survey
from luthier.data.preferences import LABELLED_PARTS, PREFERENCE_PARTS, to_labelled, to_pair
from luthier.data.row import Row
from luthier.errors import DataError
from luthier.types import Conversation, Document, LabelledAnswer, PreferencePair

RowKind = Literal["conversations", "documents", "pairs", "labelled"]
AnyRow = Conversation | Document | PreferencePair | LabelledAnswer

_FITTING = {
    "preference": "objective.name: dpo, orpo, simpo or cpo learn from preference pairs",
    "kto": "objective.name: kto learns from labelled answers",
    "text": "objective.name: pretrain learns from texts",
    "classification": "objective.name: sft learns to write the class, with data.columns (prompt: the text, completion: the "
    "class)",
}
_IMITATED = "objective.name: sft learns from conversations"


class KindFormat(NamedTuple):
    """As `formats.RowFormat`, for rows of any kind."""

    name: str
    why: str
    to_item: Callable[[Row], AnyRow]
    unused: tuple[str, ...]


class _Judged(NamedTuple):
    """A kind of rows that `formats` recognises only to refuse them."""

    layout: str
    num_rows: Callable[[Survey], int]
    to_item: Callable[[Row], AnyRow]
    parts: frozenset[str]
    what: str
    wanted: str


_JUDGED: dict[RowKind, _Judged] = {
    "pairs": _Judged(
        "preference",
        lambda seen: seen.num_preferences,
        to_pair,
        PREFERENCE_PARTS,
        "a chosen and a rejected answer",
        "preference pairs (columns chosen and rejected, with or without a prompt)",
    ),
    "labelled": _Judged(
        "kto",
        lambda seen: seen.num_labelled,
        to_labelled,
        LABELLED_PARTS,
        "an answer and a label, true or false",
        "labelled answers (columns prompt, completion and label, true or false)",
    ),
}


def recognise_as(
    kind: RowKind, rows: Sequence[Row], format: str = "auto", columns: Mapping[str, str] | None = None
) -> KindFormat:
    """Find the layout of a file's rows, of which an objective needs this kind.

    Raises:
        DataError: The rows are of another kind, or fit no layout.
    """
    if kind == "conversations":
        return KindFormat(*recognise(rows, format, columns))
    seen = survey(rows, columns)
    if kind == "documents":
        if format not in ("auto", "text"):
            raise DataError(f"data.format is {format}, but this objective learns from texts; set it to text or auto")
        if seen.coverage["text"] and (format == "text" or seen.is_mostly(seen.coverage["text"])):
            return KindFormat(*decide(seen, "text"))
        raise _wrong_kind(seen, "texts (a column text, or txt and md files)")
    wanted = _JUDGED[kind]
    if format != "auto":
        raise DataError(
            f"data.format is {format}, a layout of rows that are imitated; this objective learns from {wanted.wanted}, which "
            "are recognised by their columns: set it to auto"
        )
    return _judged(seen, wanted)


def _judged(seen: Survey, wanted: _Judged) -> KindFormat:
    for part in seen.mapping:
        if part not in wanted.parts:
            raise DataError(f"data.columns: there is no part '{part}'; parts: {', '.join(sorted(wanted.parts))}")
    for part, column in seen.mapping.items():
        if column not in seen.columns:
            found = ", ".join(seen.columns)
            raise DataError(
                f"data.columns: {part} is mapped to the column '{column}', which the rows do not have; columns found: {found}"
            )
    count = wanted.num_rows(seen)
    if not seen.is_mostly(count):
        raise _wrong_kind(seen, wanted.wanted)
    mapping = dict(seen.mapping)
    read = (set(wanted.parts) - set(mapping)) | set(mapping.values())
    unused = tuple(name for name in seen.columns if name not in read)
    why = f"{wanted.layout}: {count} of {seen.num_rows} rows have {wanted.what}"
    if unused:
        why += f"; columns not used: {', '.join(unused)}"

    def to_item(row: Row) -> AnyRow:
        return wanted.to_item(Row(dict(renamed(row.value, mapping)), row.source))

    return KindFormat(wanted.layout, why, to_item, unused)


def _wrong_kind(seen: Survey, wanted: str) -> DataError:
    columns = ", ".join(seen.columns) or "none"
    found = other_kind(seen)
    if found is None:
        try:
            found = decide(seen).name
        except DataError:
            return DataError(
                f"{seen.file}: this objective learns from {wanted}, and the rows are none. Columns found: {columns}. Other names "
                "are mapped in the recipe: data.columns: {part: column}"
            )
    return DataError(
        f"{seen.file}: this objective learns from {wanted}, but the rows were recognised as {found}. Columns found: {columns}.\n"
        f"Give other data, or the objective that fits these: {_FITTING.get(found, _IMITATED)}."
    )
