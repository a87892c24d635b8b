"""How a check of data looks on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

if TYPE_CHECKING:
    from luthier.types import Finding, Severity
    from luthier.workflows.data_check import DataCheckResult

STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}
INDENT = (0, 0, 0, 9)


def show_data_check(console: Console, result: DataCheckResult, page: Path | None) -> None:
    """Files, each finding with its first place and what to do, the verdict."""
    for file in result.files:
        console.print(f"{file.path}: {file.num_rows:,} rows, {file.why}", soft_wrap=True)
    for finding in result.findings:
        console.print()
        _show_finding(console, finding)
    clean = "bold green" if not result.counts["warning"] else "bold yellow"
    console.print()
    console.print(Text(result.verdict, style=clean if result.passed else "bold red"), soft_wrap=True)
    if page is not None:
        console.print(f"Page: {page}", soft_wrap=True)


def _show_finding(console: Console, finding: Finding) -> None:
    rows = f"{finding.num_rows:,} {'row' if finding.num_rows == 1 else 'rows'}" if finding.num_rows else ""
    head = Text.assemble((f"{finding.severity:<9}", STYLES[finding.severity]), (f"{finding.rule:<22}", "bold"), rows)
    head.rstrip()
    console.print(head, soft_wrap=True)
    console.print(Padding(finding.message, INDENT))
    seen = [str(finding.rows[0])] if finding.rows else []
    if finding.example:
        seen.append(finding.example)
    if seen:
        # A place stays in one piece, to be clicked on or copied.
        console.print(Text(f"{' ' * INDENT[3]}{': '.join(seen)}", style="dim"), soft_wrap=True)
    console.print(Padding(f"→ {finding.fix}" if "utf" in console.encoding.lower() else f"-> {finding.fix}", INDENT))
