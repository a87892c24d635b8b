"""Files → what examples are made from: conversations to vary, conversations to answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from luthier.data.any_rows import AnyItem, read_again, recognise_files
from luthier.data.find_files import find_files
from luthier.data.generation.making import Aside
from luthier.data.hub_search import layout_of
from luthier.data.messages import message
from luthier.data.preferences import PROMPT_COLUMNS
from luthier.data.sources import read_rows
from luthier.errors import DataError
from luthier.reporter import Reporter
from luthier.types import Conversation, Document, LabelledAnswer, Message, PreferencePair

_LOOKED_AT = 20


def read_seeds(
    names: Sequence[str | Path], columns: Mapping[str, str], reporter: Reporter
) -> tuple[list[Conversation], list[Aside]]:
    """Conversations to vary, and rows that cannot be.

    Raises:
        DataError: Files cannot be read, or no row is a conversation.
    """
    seeds: list[Conversation] = []
    aside: list[Aside] = []
    for item, source, reason in _items(names, columns, reporter):
        if isinstance(item, Conversation) and not _has_tools(item):
            seeds.append(item)
            continue
        what = "it uses tools" if isinstance(item, Conversation) else "it is no conversation"
        aside.append(Aside(source, "seed_not_used", reason or what))
    if not seeds:
        raise DataError(f"No row can be varied: {aside[0].source}: {aside[0].reason}.")
    return seeds, aside


def read_prompts(
    names: Sequence[str | Path], columns: Mapping[str, str], reporter: Reporter
) -> tuple[list[Conversation], list[Aside]]:
    """Conversations up to what is to be answered, and rows that have none. Answers that are there are not used.

    A file may also hold prompts alone: {"prompt": "…"}.

    Raises:
        DataError: Files cannot be read, or there is no prompt.
    """
    prompts: list[Conversation] = []
    aside: list[Aside] = []
    bare = [file for file in find_files(names) if not columns and _bare_column(file)]
    others = [file for file in find_files(names) if file not in bare]
    for file in bare:
        column = _bare_column(file)
        for row in read_rows(file):
            text = row.value.get(column or "")
            if isinstance(text, str) and text.strip():
                prompts.append(Conversation((message("user", text),), source=row.source))
            else:
                aside.append(Aside(str(row.source), "prompt_not_used", f"{column} is empty"))
    for item, source, reason in _items(others, columns, reporter) if others else ():
        asked = None if item is None else _asked(item)
        if asked is None:
            aside.append(Aside(source, "prompt_not_used", reason or "it asks nothing, or uses tools"))
        else:
            prompts.append(Conversation(asked, source=item.source if item else None))
    if not prompts:
        raise DataError(f"There is no prompt: {aside[0].source}: {aside[0].reason}.")
    return prompts, aside


def _items(
    names: Sequence[str | Path], columns: Mapping[str, str], reporter: Reporter
) -> Iterator[tuple[AnyItem | None, str, str]]:
    for file in recognise_files(names, "auto", columns, reporter):
        for read in read_again(file, reporter, "read"):
            yield read.item, str(read.row.source), read.reason


def _bare_column(file: str) -> str | None:
    """The column with prompts, where a file has nothing else that is a layout."""
    there: dict[str, object] = {}
    for row in islice(read_rows(file), _LOOKED_AT):
        there |= {name: value for name, value in row.value.items() if value is not None}
    if layout_of(tuple(there)):
        return None
    return next((name for name in PROMPT_COLUMNS if isinstance(there.get(name), str)), None)


def _asked(item: AnyItem) -> tuple[Message, ...] | None:
    """The messages before the last answer; None where nobody asks."""
    if isinstance(item, Document):
        return None
    if isinstance(item, PreferencePair | LabelledAnswer):
        messages = item.prompt
    else:
        messages = item.messages
        while messages and messages[-1].role == "assistant":
            messages = messages[:-1]
    is_asked = bool(messages) and messages[-1].role == "user"
    return messages if is_asked and not _has_tools(Conversation(messages)) else None


def _has_tools(item: Conversation) -> bool:
    return bool(item.tools) or any(m.tool_calls or m.role == "tool" for m in item.messages)
