"""How a check of data looks on a terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from luthier.data.lint.catalogue import NotRun, RuleWords
    from luthier.types import Finding, Severity
    from luthier.workflows.data_check import DataCheckResult

STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}
INDENT = (0, 0, 0, 9)


def show_data_check(console: Console, result: DataCheckResult, page: Path | None) -> None:
    """Files, each finding with its first place and what to do, rules that could not be asked, the verdict, the next step."""
    for file in result.files:
        console.print(f"{file.path}: {file.num_rows:,} rows, {file.why}", soft_wrap=True)
    for finding in result.findings:
        console.print()
        _show_finding(console, finding)
    clean = "bold green" if not result.counts["warning"] else "bold yellow"
    console.print()
    _show_not_run(console, result.not_run)
    console.print(Text(result.verdict, style=clean if result.passed else "bold red"), soft_wrap=True)
    if page is not None:
        console.print(f"Page: {page}", soft_wrap=True)
    console.print(f"Next:   {result.next_step}", soft_wrap=True)


def _show_not_run(console: Console, not_run: Sequence[NotRun]) -> None:
    """One line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for rule, reason in not_run:
        by_reason.setdefault(reason, []).append(rule)
    for reason, rules in by_reason.items():
        console.print(Text(f"Not asked: {', '.join(rules)} ({reason})", style="dim"), soft_wrap=True)


def show_rules(console: Console, rules: Sequence[RuleWords], *, in_full: bool) -> None:
    """One line for each rule; in full with why it hurts and what to do."""
    for rule in rules:
        style = STYLES[cast("Severity", rule.severity)]
        first = rule.finds if in_full else _first_sentence(rule.finds)
        console.print(
            Text.assemble((f"{rule.name:<24}", "bold"), (f"{rule.severity:<9}", style)), Text(first), soft_wrap=True
        )
        if in_full:
            for word, text in (("Why", rule.hurts), ("Do", rule.do), ("How", rule.more), ("Needs", rule.needs)):
                if text:
                    console.print(Padding(f"{word}: {text}", INDENT, expand=False))
            if rule.kinds:
                console.print(Padding(f"Only for: {', '.join(rule.kinds)}", INDENT, expand=False))
    if not in_full:
        console.print(
            "Next:   luthier data rules RULE explains one; luthier data check FILE --rule RULE asks it", soft_wrap=True
        )


def _first_sentence(text: str) -> str:
    """Up to the first full stop or colon; rules are listed one a line."""
    found = re.match(r"(.+?)(?:[.:;] |[.]?\Z)", text)
    return found.group(1) if found else text


def _show_finding(console: Console, finding: Finding) -> None:
    rows = f"{finding.num_rows:,} {'row' if finding.num_rows == 1 else 'rows'}" if finding.num_rows else ""
    head = Text.assemble((f"{finding.severity:<9}", STYLES[finding.severity]), (f"{finding.rule:<22}", "bold"), rows)
    head.rstrip()
    console.print(head, soft_wrap=True)
    console.print(Padding(finding.message, INDENT, expand=False))
    seen = [str(finding.rows[0])] if finding.rows else []
    if finding.example:
        seen.append(finding.example)
    if seen:
        # A place stays in one piece, to be clicked on or copied.
        console.print(Text(f"{' ' * INDENT[3]}{': '.join(seen)}", style="dim"), soft_wrap=True)
    console.print(
        Padding(f"→ {finding.fix}" if "utf" in console.encoding.lower() else f"-> {finding.fix}", INDENT, expand=False)
    )
