"""How a cleaning and the list of repairs read in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from luthier.cli.dispatch import Outcome

if TYPE_CHECKING:
    from luthier.workflows.data_clean import CleanResult

_LISTED = 3


def show_cleaning(console: Console, result: CleanResult) -> None:
    """What was changed, dropped, left, and where it is written."""
    console.print(
        f"{result.path}: {result.num_kept:,} of {result.num_read:,} rows, {result.num_changed:,} of them changed",
        soft_wrap=True,
    )
    for name, count in result.changes.items():
        console.print(f"  {count:>7,}  {name}")
    if result.drops:
        console.print(f"{result.dropped}: {sum(result.drops.values()):,} rows dropped, with reasons", soft_wrap=True)
        for name, count in result.drops.items():
            console.print(f"  {count:>7,}  {name}")
    if not result.changes and not result.drops:
        console.print(f"  nothing to repair ({', '.join(result.repairs)})", soft_wrap=True)
    for left in result.left:
        places = ", ".join(map(str, left.rows[:_LISTED]))
        more = ", …" if left.num_rows > _LISTED else ""
        rows = "1 row" if left.num_rows == 1 else f"{left.num_rows:,} rows"
        console.print(f"  {left.repair} could not repair {rows}: {places}{more}", soft_wrap=True)
    console.print(f"To undo: luthier data undo {result.path} ORIGINAL.jsonl (needs {result.ledger})", soft_wrap=True)
    console.print(f"Next: luthier data check {result.path}", soft_wrap=True)


def show_repairs() -> Outcome:
    """All repairs with what they do."""
    from luthier.data.clean.catalogue import REPAIRS
    from luthier.data.clean.repair import Drop

    repairs = [
        {"name": r.name, "does": r.does, "is_safe": r.is_safe, "drops_rows": isinstance(r, Drop)}
        for r in REPAIRS.values()
    ]

    def show(console: Console) -> None:
        table = Table("--rule", "", "what it does", box=None, padding=(0, 2, 0, 0))
        for repair in REPAIRS.values():
            table.add_row(repair.name, "safe" if repair.is_safe else "", repair.does)
        console.print(table)
        console.print(
            "The safe ones are done unless --rule names others; --rule safe --rule role_order adds one to them."
        )

    return Outcome({"repairs": repairs}, show)
