"""How the doctor's findings look: what failed first and with its remedy, then the machine, the trials, what can be trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from luthier.cli.hanging import print_hanging
from luthier.cli.views import show_next, table_of
from luthier.units import GIB, format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from luthier.doctor.item import Item
    from luthier.workflows.doctor import DoctorResult
    from luthier.workflows.trainable import Cell, Trainable

MARKS = {
    "good": ("ok    ", "green"),
    "note": ("note  ", "yellow"),
    "failed": ("FAIL  ", "bold red"),
    "skipped": ("skip  ", "dim"),
}
TITLES = {
    "packages": "Packages", "machine": "Machine", "gpu": "Cards", "network": "Network", "caches": "Caches",
    "trials": "Tried",
}  # fmt: skip


def show_doctor(console: Console, result: DoctorResult, verbose: bool) -> None:
    """All groups; good packages in one line, unless all are asked for."""
    for group, title in TITLES.items():
        items = [item for item in result.items if item.group == group]
        good = [item for item in items if item.status == "good"]
        console.print(Text(title, style="bold"))
        if group == "packages" and not verbose:
            names = ", ".join(f"{item.name} {item.found}" for item in good[:4])
            print_hanging(
                console, Text.assemble(MARKS["good"], f"{len(good)} as they should be ({names}, …)"), indent=6
            )
            items = [item for item in items if item.status != "good"]
        _show_items(console, items)
    if result.trainable is not None:
        show_trainable(console, result.trainable)
    if result.trainable_fault:
        print_hanging(console, Text.assemble(MARKS["note"], result.trainable_fault), indent=6)
    failed = result.of("failed")
    seconds = format_seconds(result.seconds)
    words = f"{len(failed)} failed: {', '.join(item.name for item in failed)}" if failed else "Nothing failed"
    console.print(
        Text(f"{words} ({len(result.items)} items in {seconds}).", style="bold red" if failed else "bold green")
    )
    show_next(console, (result.next_step, "mends this first" if failed else "the machine is ready"))


def _show_items(console: Console, items: Iterable[Item]) -> None:
    for item in items:
        seconds = f" ({format_seconds(item.seconds)})" if item.seconds is not None and item.group == "trials" else ""
        text = Text.assemble(MARKS[item.status], (f"{item.name}: ", "bold"), f"{item.found}{seconds}")
        print_hanging(console, text, indent=6)
        if item.mend and item.status != "good":
            print_hanging(console, Text.assemble(("      → ", "dim"), item.mend), indent=8)


def show_trainable(console: Console, trainable: Trainable) -> None:
    """Models by size; planned GiB for each method and context."""
    from luthier.workflows.trainable import CONTEXTS, METHODS

    device = trainable.device
    usable = format_bytes(device.usable_bytes)
    console.print(Text(f"What can be trained on {device.name} ({usable} usable)", style="bold"))
    heads = {"lora": "LoRA", "full": "full", "qlora": "QLoRA"}
    columns = [
        f"{heads[method] if not i else ''} {context // 1024}k"
        for method in METHODS
        for i, context in enumerate(CONTEXTS)
    ]
    table = table_of("model", "size", *columns)
    table.columns[0].no_wrap = True
    rows: dict[str, list[Cell]] = {}
    for cell in trainable.cells:
        rows.setdefault(cell.model, []).append(cell)
    for name, cells in rows.items():
        table.add_row(name, format_count(cells[0].num_parameters), *(_cell(cell) for cell in cells))
    console.print(table)
    console.print(
        "GiB at the peak with rows of 1k, 4k, 16k tokens, by the planner. ° fits with checkpointing or smaller micro-batches: "
        "luthier plan says which. – does not fit. × longer than the model was built for.",
        style="dim",
    )


def _cell(cell: Cell) -> Text:
    if cell.beyond_context:
        return Text("×", "dim")
    if cell.needed_bytes is None:
        return Text("–", "dim")
    if cell.overrides:
        return Text("°", "green")
    gib = cell.needed_bytes / GIB
    return Text(f"{gib:.1f}" if gib < 10 else f"{gib:,.0f}", "green")
