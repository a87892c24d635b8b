"""Training rows token by token: which are learnt, and which are only read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from luthier.pages.report.words import number, percent
from luthier.runs.folder import RunFolder

MOST_ROWS = 8


class Token(NamedTuple):
    """What is seen of a token, and what is said of it when one points at it."""

    text: str
    title: str


@dataclass(frozen=True)
class RunView:
    """Tokens in a row that are all learnt, or all context. `left_out` stand before them, where a long row is shortened."""

    trained: bool
    left_out: int
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class TokenRowView:
    """One training row."""

    title: str
    runs: tuple[RunView, ...]


def read_tokens(folder: RunFolder) -> list[TokenRowView] | None:
    """None where the run has not written any."""
    records = folder.read_json("token_view.json")
    return [token_row_view(record) for record in records[:MOST_ROWS]] if records else None


def token_row_view(record: Mapping[str, Any]) -> TokenRowView:
    """A row as `data.token_view` describes it, laid out for the macro `token_row`."""
    num_tokens, num_trained = record["num_tokens"], record["num_trained"]
    part = f" ({record['part']})" if record.get("part") else ""  # runs of before there were any have none
    where = f"{record['source']}{part}: " if record["source"] else ""
    title = f"{where}{number(num_tokens)} tokens, {number(num_trained)} learnt ({percent(num_trained / num_tokens)})"
    return TokenRowView(title, tuple(_runs(record, num_tokens - len(record["ids"]))))


def _runs(record: Mapping[str, Any], num_left_out: int) -> Iterable[RunView]:
    gap = record["gap_before"] if num_left_out else -1
    tokens = list(zip(record["ids"], record["pieces"], record["trained"], strict=True))
    # A gap ends a run, like a change between learnt and not.
    for key, group in itertools.groupby(enumerate(tokens), key=lambda t: (t[1][2], t[0] >= gap >= 0)):
        members = list(group)
        starts_at_gap = members[0][0] == gap
        shown = tuple(_token(token_id, piece) for _, (token_id, piece, _) in members)
        yield RunView(bool(key[0]), num_left_out if starts_at_gap else 0, shown)


def _token(token_id: int, piece: str) -> Token:
    if not piece:
        return Token("◦", f"{token_id}, a part of the next character")
    return Token(piece.replace("\n", "↵\n").replace("\t", "⇥\t"), str(token_id))
