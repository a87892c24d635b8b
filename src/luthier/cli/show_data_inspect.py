"""How an inspection of data looks on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from luthier.units import format_count, format_share

if TYPE_CHECKING:
    from luthier.data.row_lengths import LengthSummary
    from luthier.workflows.data_inspect import InspectedFile, Inspection

_BAR_WIDTH = 32
_PROMPT_LENGTH = 70


def show_inspection(console: Console, result: Inspection) -> None:
    """Files, what their rows hold, lengths, and the cost of limits."""
    for file in result.files:
        _show_file(console, file)
    console.print()
    for name, words in _facts(result):
        console.print(Text.assemble((f"{name:<16}", "bold"), words), soft_wrap=True)
    if result.num_refused:
        console.print(Text(f"{result.num_refused:,} rows cannot be rendered by the chat template:", style="red"))
        for row in result.refused:
            console.print(f"  {row.source}: {row.reason}", soft_wrap=True)
    if result.lengths is not None:
        _show_lengths(console, result.lengths, result)


def _show_file(console: Console, file: InspectedFile) -> None:
    console.print(Text.assemble((file.path, "bold"), f": {file.num_rows:,} rows"), soft_wrap=True)
    console.print(f"  {file.why}", soft_wrap=True)
    console.print(f"  columns: {', '.join(file.columns)}", soft_wrap=True)
    if file.num_unfit:
        console.print(Text(f"  {file.num_unfit:,} rows do not fit:", style="red"))
        for row in file.unfit:
            console.print(f"    {row.source}: {row.reason}", soft_wrap=True)
        if file.num_unfit > len(file.unfit):
            console.print(f"    … and {file.num_unfit - len(file.unfit):,} more")


def _facts(result: Inspection) -> list[tuple[str, str]]:
    facts = [("Rows", f"{result.num_rows:,} that fit")]
    if result.turns:
        total = sum(count for _, count in result.turns)
        shown = ", ".join(f"{turns}: {format_share(count / total)}" for turns, count in result.turns[:6])
        facts.append(("User turns", shown + (f", … up to {result.turns[-1][0]}" if len(result.turns) > 6 else "")))
    prompts = result.system_prompts
    facts.append(("System prompts", f"{prompts.num_rows:,} rows, {prompts.num_different:,} different"))
    for text, count in prompts.most_frequent[:3]:
        one_line = " ".join(text.split())
        short = one_line if len(one_line) <= _PROMPT_LENGTH else one_line[:_PROMPT_LENGTH] + "…"
        facts.append(("", f"{count:,} × {short}"))
    if result.num_with_tools:
        facts.append(("Tools", f"{result.num_with_tools:,} rows"))
    if result.num_with_thinking:
        facts.append(("Reasoning", f"{result.num_with_thinking:,} rows"))
    if result.languages:
        total = sum(count for _, count in result.languages)
        named = ", ".join(f"{name or 'unclear'} {format_share(count / total)}" for name, count in result.languages[:5])
        facts.append(("Languages", f"{named} of {total:,} answers looked at"))
    return facts


def _show_lengths(console: Console, lengths: LengthSummary, result: Inspection) -> None:
    console.print()
    sample = lengths.num_measured < lengths.num_rows
    head = f"Tokens of {result.model}" + (f", from a sample of {lengths.num_measured:,} rows" if sample else "")
    console.print(Text(head, style="bold"))
    error = f" ± {format_count(lengths.num_tokens_error)}" if sample else ""
    console.print(
        f"  all rows {format_count(lengths.num_tokens)}{error} · learnt {format_share(lengths.supervised_share)}"
        f"{_error(lengths.supervised_share_error)} · median {lengths.median:g} · 95 % up to {lengths.p95:g} · "
        f"longest {'seen ' if sample else ''}{lengths.longest:,}",
        soft_wrap=True,
    )
    block = "█" if "utf" in console.encoding.lower() else "#"
    most = max(bin.num_examples for bin in lengths.histogram)
    for bin in lengths.histogram:
        bar = block * max(1 if bin.num_examples else 0, round(_BAR_WIDTH * bin.num_examples / most))
        console.print(
            Text.assemble(f"  ≤ {bin.most_tokens:>7,} ", (f"{bar:<{_BAR_WIDTH}}", "cyan"), f" {bin.num_examples:,}")
        )
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("max_length", "rows longer", "share", "answer tokens lost: dropped", "truncated"):
        table.add_column(name, justify="right")
    for cost in lengths.costs:
        built = " (model)" if cost.max_length == result.model_max_length else ""
        table.add_row(
            f"{cost.max_length:,}{built}",
            f"{cost.num_rows:,}",
            format_share(cost.row_share) + _error(cost.row_share_error),
            format_share(cost.dropped_share) + _error(cost.dropped_share_error),
            format_share(cost.truncated_share) + _error(cost.truncated_share_error),
        )
    console.print(table)
    if sample:
        console.print(Text("± holds with 95 % probability; for rows it holds for all limits at once.", style="dim"))
    if any(file.format in ("text",) for file in result.files):
        console.print(Text("Running text is cut into chunks at any max_length; nothing of it is lost.", style="dim"))


def _error(share: float) -> str:
    return f" ± {format_share(share)}" if share else ""
