"""How tokens of training rows look on a terminal: text and id of each, learnt ones in green, or in brackets without colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from luthier.units import format_share

if TYPE_CHECKING:
    from luthier.data.token_view import TokenRow

# Alternating, so that one sees where a token ends.
LEARNT_STYLES, READ_STYLES = ("black on green", "black on bright_green"), ("white on grey23", "white on grey35")


def show_token_rows(console: Console, rows: Sequence[TokenRow], page: Path | None = None) -> None:
    """Each row with a title; line ends are shown as ⏎ and also made."""
    has_colour = console.color_system is not None and not console.no_color
    for number, row in enumerate(rows, 1):
        of = f", example {number} of {len(rows)}" if len(rows) > 1 else ""
        share = format_share(row.num_trained / max(1, row.num_tokens))
        title = f"{row.source}{of}: {row.num_tokens:,} tokens, {row.num_trained:,} learnt ({share})"
        console.print(Text(title, style="bold"), soft_wrap=True)
        for line in _lines(row, has_colour):
            console.print(line, soft_wrap=not has_colour)
    legend = "green is learnt" if has_colour else "[text|id] is learnt, text|id is only read"
    console.print(Text(f"{legend}; numbers are token ids", style="dim"))
    if page is not None:
        console.print(f"Page: {page}", soft_wrap=True)


def _lines(row: TokenRow, has_colour: bool) -> Iterator[Text]:
    line = Text()
    for index, (token, piece, is_learnt) in enumerate(zip(row.ids, row.pieces, row.trained, strict=True)):
        if row.gap_before and index == row.gap_before:
            line.append(f" … {row.num_tokens - len(row.ids):,} tokens left out … ", style="dim italic")
        shown = piece.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍") or "◦"
        if has_colour:
            line.append(shown, style=(LEARNT_STYLES if is_learnt else READ_STYLES)[index % 2])
            line.append(f"{token} ", style="dim")
        else:
            line.append(f"[{shown}|{token}] " if is_learnt else f"{shown}|{token} ")
        if piece.endswith("\n"):
            yield line
            line = Text()
    if line:
        yield line
