"""`luthier data convert`: rows of any recognised layout → rows of another, and a statement of what that one cannot say.

Columns that neither layout knows go along as they are. What would be lost is counted before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from luthier.data.any_rows import AnyItem, RecognisedFile, UnfitRows, read_again, recognise_files
from luthier.data.layouts import LAYOUTS
from luthier.data.preferences import LABEL_COLUMNS, PREFERENCE_COLUMNS
from luthier.data.targets import TARGETS, Said, Target, plain_prompt
from luthier.data.write_rows import require_new, row_files
from luthier.errors import DataError, InputError
from luthier.reporter import Reporter, Silent
from luthier.types import Conversation, LabelledAnswer, Message, PreferencePair, Source

_SILENT = Silent()
# Columns that say what a row is: beside another layout's own they would change what is recognised.
_TELLING = frozenset(
    (*(p for layout in LAYOUTS.values() for p in layout.parts), *(c for pair in PREFERENCE_COLUMNS for c in pair))
) | frozenset(LABEL_COLUMNS)


@dataclass(frozen=True)
class Loss:
    """Something that the new layout cannot say: what, in how many rows, and the first of them."""

    what: str
    num_rows: int
    first: Source


@dataclass(frozen=True)
class ConvertResult:
    """What was written.

    Attributes:
        path: The new file.
        layout: Its layout.
        formats: What was recognised of each file that was read.
        num_read: Rows read.
        num_written: Rows written; fewer where rows could not be said at all.
        losses: What is no longer there.
    """

    path: Path
    layout: str
    formats: tuple[str, ...]
    num_read: int
    num_written: int
    losses: tuple[Loss, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        lost = [{"what": loss.what, "num_rows": loss.num_rows, "first": str(loss.first)} for loss in self.losses]
        return {
            "path": str(self.path),
            "layout": self.layout,
            "formats": list(self.formats),
            "num_read": self.num_read,
            "num_written": self.num_written,
            "lost": lost,
        }


@dataclass
class _Account:
    """What a conversion would do, before it is done."""

    num_read: int = 0
    num_said: int = 0
    is_plain: bool = True
    losses: dict[str, Loss] = field(default_factory=dict)

    def lose(self, what: str, source: Source) -> None:
        before = self.losses.get(what, Loss(what, 0, source))
        self.losses[what] = replace(before, num_rows=before.num_rows + 1)


def data_convert(
    names: Sequence[str | Path],
    path: Path,
    layout: str,
    *,
    allow_loss: bool = False,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> ConvertResult:
    """Write rows in another layout.

    Args:
        names: Files, folders, patterns to read.
        path: The file to write: .jsonl, .json, or these with .gz.
        layout: A name from `luthier.data.targets.TARGETS`.
        allow_loss: Whether to write although something cannot be said.
        format: Layout to read; "auto" to recognise it.
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        InputError: There is no such layout to write, or the file cannot be made.
        DataError: Rows cannot be read, do not fit, or would lose something that is not allowed to be lost.
    """
    if layout not in TARGETS:
        raise InputError(f"Rows cannot be written as '{layout}'. Known: {', '.join(TARGETS)}.")
    require_new(path)
    target = TARGETS[layout]
    reporter.stage("Recognise")
    files = recognise_files(names, format, columns or {}, reporter)
    reporter.stage("Count what would be lost")
    account = _count(files, target, layout, reporter)
    if account.losses and not allow_loss:
        raise DataError(_refusal(account, layout, path))
    if not account.num_said:
        raise DataError(f"None of the {account.num_read} rows can be said as {layout}; nothing was written.")
    reporter.stage(f"Write {path}")
    with row_files([path]) as (out,):
        for file in files:
            for read in read_again(file, reporter, "write"):
                said = say_item(read.item, target) if read.item is not None else Said(None)
                if said.values is not None:
                    values = said.values
                    if layout == "prompt_completion" and account.is_plain:
                        values = plain_prompt(values) or values
                    extras, _ = extra_columns(file, read.row.value)
                    out.write({**values, **extras}, read.row.source)
        written = out.num_rows
    formats = tuple(file.format for file in files)
    return ConvertResult(path, layout, formats, account.num_read, written, tuple(account.losses.values()))


def _count(files: Sequence[RecognisedFile], target: Target, layout: str, reporter: Reporter) -> _Account:
    account, unfit = _Account(), UnfitRows()
    for file in files:
        for read in read_again(file, reporter, "count"):
            account.num_read += 1
            if read.item is None:
                unfit.add(read)
                continue
            said = say_item(read.item, target)
            for what in said.lost:
                account.lose(what, read.row.source)
            if said.values is None:
                continue
            account.num_said += 1
            if layout == "prompt_completion" and account.is_plain:
                account.is_plain = plain_prompt(said.values) is not None
            for name in extra_columns(file, read.row.value)[1]:
                account.lose(f"column '{name}'", read.row.source)
    unfit.require_none(account.num_read)
    return account


def say_item(item: AnyItem, target: Target) -> Said:
    """An item as a row; of judged answers the good one."""
    if isinstance(item, Conversation):
        return target.say(item)
    if isinstance(item, PreferencePair):
        said = target.say(Conversation((*_context(item.prompt), *item.chosen), (), item.source))
        margins = () if item.margin is None else ("margins",)
        return Said(said.values, ("rejected answers", *margins, *said.lost))
    if isinstance(item, LabelledAnswer):
        if not item.is_good:
            return Said(None, ("rows with an answer that is labelled bad",))
        said = target.say(Conversation((*_context(item.prompt), *item.answer), (), item.source))
        return Said(said.values, ("labels", *said.lost))
    return Said(None, ("rows of running text (no question, no answer)",))


def _context(messages: Sequence[Message]) -> list[Message]:
    """Messages of which none is learnt."""
    return [replace(m, train=False) if m.role == "assistant" else m for m in messages]


def extra_columns(file: RecognisedFile, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Columns that no layout reads, to go along as they are; and names of those that cannot."""
    extras: dict[str, Any] = {}
    lost: list[str] = []
    for name in file.unused:
        value = values.get(name)
        if value is None:
            continue
        if name in _TELLING:
            lost.append(name)
        else:
            extras[name] = value
    return extras, lost


def _refusal(account: _Account, layout: str, path: Path) -> str:
    lines = [f"{layout} cannot say all that the {account.num_read} rows say; {path} was not written. It would lose:"]
    lines += [f"  {loss.what}: {loss.num_rows} rows, first {loss.first}" for loss in account.losses.values()]
    other = "" if layout == "messages" else ", or write messages, which can say most"
    lines.append(f"Add --allow-loss to write the rest{other}.")
    return "\n".join(lines)
