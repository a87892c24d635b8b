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
    from luthier.workflows.push_export import PushResult


def show_export(console: Console, result: ExportResult, pushed: PushResult | None) -> None:
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
    if pushed is not None:
        commands = _show_push(console, pushed)
    show_next(console, *commands)


def show_check(console: Console, result: CheckResult, pushed: PushResult | None) -> None:
    """What holds, and what does not."""
    words = Text("intact", style="green") if result.passed else Text("NOT as it was exported", style="bold red")
    console.print(Text.assemble(f"{result.folder}: ", words), soft_wrap=True)
    show_failed_checks(console, result.checks)
    for sentence in result.sentences:
        print_hanging(console, Text(sentence), indent=2)
    if not result.repeated:
        console.print("Only the files were checked: it was not compared with its run again.")
    if pushed is not None:
        show_next(console, *_show_push(console, pushed))
    if result.passed:
        return
    show_next(console, (f"luthier export {shlex.quote(result.record.run)} --to {result.record.format}", "export again"))


def _show_push(console: Console, pushed: PushResult) -> list[tuple[str, str]]:
    """What was or would be uploaded; returns what to type next."""
    plan = pushed.plan
    seen = "private" if plan.private else "PUBLIC"
    size = format_bytes(plan.num_bytes)
    if pushed.url is not None:
        console.print(f"Pushed: {len(plan.files)} files, {size}, {seen}: {pushed.url}", soft_wrap=True)
        return [(f"hf download {plan.repo_id}", "fetch it anywhere")]
    console.print(f"Would push to {plan.repo_id} ({seen}): {size}", soft_wrap=True)
    for file in plan.files:
        console.print(f"  {file.path}  {format_bytes(file.num_bytes)}", soft_wrap=True)
    public = "" if plan.private else " --public"
    folder = shlex.quote(str(plan.folder))
    return [(f"luthier export --check {folder} --push {plan.repo_id}{public} --yes", "really upload it")]
