"""Progress for people, on stderr: a live view on a terminal, sparse plain lines elsewhere (a log file, CI, a pipe)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from luthier.cli.dispatch import stderr_console
from luthier.cli.hanging import print_hanging
from luthier.reporter import Level
from luthier.types import Check
from luthier.units import format_bytes, format_count, format_seconds

PLAIN_INTERVAL_SECONDS = 5.0
LIVE_INTERVAL_SECONDS = 0.2
SHORT_NAMES = {"validation_loss": "validation", "learning_rate": "lr"}
ORDER = ("loss", "validation_loss", "tokens_per_second", "memory_bytes")
"""What a narrow terminal should show before it runs out of columns; the rest follows."""


@dataclass
class Progress:
    """What is known about one running count."""

    name: str
    started: float
    first_done: float
    done: float
    total: float
    detail: dict[str, float | str] = field(default_factory=dict)
    shown_at: float = 0.0
    was_printed: bool = False

    def eta_seconds(self, now: float) -> float | None:
        """Time left at the mean speed so far; None before there is a speed."""
        advanced = self.done - self.first_done
        return (self.total - self.done) * (now - self.started) / advanced if advanced > 0 else None

    def counts(self) -> str:
        """``120/300``."""
        return f"{self.done:g}/{self.total:g}"

    def words(self, now: float) -> str:
        """``120/300 · loss 1.23 · 4.2k tokens/s · 2 min left``."""
        eta = self.eta_seconds(now)
        parts = [self.counts(), *format_detail(self.detail)]
        if self.done >= self.total:
            parts.append(f"took {format_seconds(now - self.started)}")
        elif eta is not None:
            parts.append(f"{format_seconds(eta)} left")
        return " · ".join(parts)


def format_detail(detail: Mapping[str, float | str]) -> list[str]:
    """Figures with their units, read off the names: ``_bytes``, ``_per_second``, ``_seconds``."""
    words: list[str] = []
    first = [name for name in ORDER if name in detail]
    for name in dict.fromkeys((*first, *detail)):
        value = detail[name]
        label = SHORT_NAMES.get(name, name.replace("_", " "))
        if isinstance(value, str):
            words.append(value)
        elif name.endswith("_bytes"):
            words.append(f"{name.removesuffix('_bytes').replace('_', ' ')} {format_bytes(value)}")
        elif name.endswith("_per_second"):
            words.append(f"{format_count(value)} {name.removesuffix('_per_second').replace('_', ' ')}/s")
        elif name.endswith("_seconds"):
            words.append(f"{name.removesuffix('_seconds').replace('_', ' ')} {format_seconds(value)}")
        elif name == "learning_rate":
            words.append(f"{label} {value:.1e}")
        else:
            words.append(f"{label} {value:.4g}")
    return words


class TerminalReporter:
    """Reports to a console; use `terminal_reporter` so that the live view is closed whatever happens."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Live | None = None
        self._running: dict[str, Progress] = {}
        self._stage_started: float | None = None
        self._marks = ("✓", "✗") if "utf" in console.encoding.lower() else ("ok", "FAILED")

    def stage(self, title: str) -> None:
        """Close what ran and name what begins."""
        self.close()
        self._print(Text(title, style="bold"), indent=0)
        self._stage_started = time.monotonic()

    def close(self) -> None:
        """End the stage: a count that did not reach its total is left as it stood, long stages say how long they took."""
        for progress in list(self._running.values()):
            self._finish(progress)
        started, self._stage_started = self._stage_started, None
        if started is not None and time.monotonic() - started >= 1:
            self._print(Text(f"  done in {format_seconds(time.monotonic() - started)}", style="dim"))

    def say(self, message: str, level: Level = "info") -> None:
        """A sentence."""
        if level == "warning":
            self._print(Text.assemble("  ", ("warning: ", "bold yellow"), message))
        else:
            self._print(Text(f"  {message}"))

    def check(self, check: Check) -> None:
        """A tick or a cross; a cross comes with what was measured and what to do."""
        good, bad = self._marks
        if check.passed:
            self._print(Text.assemble("  ", (good, "green"), f" {check.claim}"), indent=3 + len(good))
            return
        unit = f" {check.unit}" if check.unit else ""
        self._print(Text.assemble("  ", (bad, "bold red"), f" {check.claim}"), indent=3 + len(bad))
        measured = f"{check.name}: measured {check.measured}{unit}, limit {check.limit}{unit}. {check.advice}"
        self._print(Text(f"    {measured}"), indent=4)

    def progress(self, name: str, done: float, total: float, detail: Mapping[str, float | str] | None = None) -> None:
        """A count moved."""
        now = time.monotonic()
        progress = self._running.get(name)
        if progress is None:
            progress = self._running[name] = Progress(
                name, now, done, done, total, shown_at=now if self.live is None else 0.0
            )
        progress.done, progress.total = done, total
        progress.detail.update(detail or {})
        if done >= total:
            self._finish(progress)
        elif self.live is not None:
            if now - progress.shown_at >= LIVE_INTERVAL_SECONDS:
                progress.shown_at = now
                self.live.update(self._view(now), refresh=True)
        elif now - progress.shown_at >= PLAIN_INTERVAL_SECONDS:
            progress.shown_at, progress.was_printed = now, True
            self._print(Text(f"  {name}: {progress.words(now)}"))

    def _finish(self, progress: Progress) -> None:
        del self._running[progress.name]
        now = time.monotonic()
        if self.live is not None:
            self.live.update(self._view(now), refresh=True)
        if progress.was_printed or now - progress.started >= 1:  # what passes in a blink leaves no line
            self._print(Text(f"  {progress.name}: {progress.words(now)}"))

    def _view(self, now: float) -> RenderableType:
        rows: list[RenderableType] = []
        for progress in self._running.values():
            grid = Table.grid(padding=(0, 1))
            eta = progress.eta_seconds(now)
            grid.add_row(
                f"  {progress.name}",
                ProgressBar(total=progress.total, completed=progress.done, width=24),
                progress.counts(),
                "" if eta is None else f"{format_seconds(eta)} left",
            )
            rows.append(grid)
            if progress.detail:
                rows.append(
                    Text(
                        "    " + " · ".join(format_detail(progress.detail)),
                        style="cyan",
                        overflow="ellipsis",
                        no_wrap=True,
                    )
                )
        return Group(*rows)

    def _print(self, text: Text, indent: int = 2) -> None:
        print_hanging(self.console, text, indent)


@contextmanager
def terminal_reporter(console: Console | None = None) -> Iterator[TerminalReporter]:
    """A reporter on stderr, live where there is a terminal that can redraw lines."""
    console = console or stderr_console()
    reporter = TerminalReporter(console)
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            reporter.live = live
            yield reporter
            reporter.close()
    else:
        yield reporter
        reporter.close()
