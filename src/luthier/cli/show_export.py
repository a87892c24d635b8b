"""How exports look on a terminal: where they are, what was measured, how they are used."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from luthier.cli.hanging import print_hanging
from luthier.cli.views import show_failed_checks, show_next
from luthier.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from luthier.workflows.export import CheckResult, ExportResult


def show_export(console: Console, result: ExportResult) -> None:
    """Each export with its figures, and what to do with it."""
    for each in result.exports:
        state = ("verified", "green") if each.verified else ("not compared with the live model", "yellow")
        console.print(
            Text.assemble(
                (each.format if each.type == "own" else f"{each.format} {each.type}", "bold"),
                ": ",
                state,
                f", {each.folder}",
            ),
            soft_wrap=True,
        )
        console.print(f"  {format_bytes(each.num_bytes)}, {len(each.checks)} checks passed")
        for sentence in each.sentences:
            print_hanging(console, Text(f"  {sentence}"), indent=4)
        for note in each.usage.notes:
            print_hanging(console, Text(f"  {note}"), indent=4)
    for note in result.notes:
        print_hanging(console, Text.assemble(("note: ", "yellow"), note), indent=6)
    console.print(f"Took {format_seconds(result.seconds)}.")
    last = result.exports[-1]
    commands = [(each.usage.command, each.usage.purpose) for each in result.exports]
    commands.append((f"luthier export --check {shlex.quote(str(last.folder))}", "verify it again, whenever"))
    show_next(console, *commands)


def show_check(console: Console, result: CheckResult) -> None:
    """What holds, and what does not."""
    words = Text("intact", style="green") if result.passed else Text("NOT as it was exported", style="bold red")
    console.print(Text.assemble(f"{result.folder}: ", words), soft_wrap=True)
    show_failed_checks(console, result.checks)
    for sentence in result.sentences:
        print_hanging(console, Text(sentence), indent=2)
    if not result.repeated:
        console.print("Only the files were checked: it was not compared with its run again.")
    if result.passed:
        return
    show_next(console, (f"luthier export {shlex.quote(result.record.run)} --to {result.record.format}", "export again"))
