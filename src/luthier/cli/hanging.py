"""Lines that are too long for the terminal go on below their own beginning, not below the mark in front of it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def print_hanging(console: Console, text: Text, indent: int) -> None:
    """Print a text whose first `indent` characters are its margin (spaces, a tick); off a terminal its lines stay whole."""
    if not console.is_terminal:
        console.print(text, soft_wrap=True)
        return
    margin, rest = text.divide([min(indent, len(text))])
    room = max(20, console.width - indent)
    for number, line in enumerate(rest.wrap(console, room)):
        line.rstrip()
        console.print(Text.assemble(margin if number == 0 else " " * indent, line), soft_wrap=True)
