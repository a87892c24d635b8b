"""Progress: sparse whole lines off a terminal, a live view within 80 columns on one, no colour when told so."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from luthier.cli import render
from luthier.cli.render import Progress, format_detail, terminal_reporter
from luthier.types import Check


def console(*, terminal: bool, colour: bool = False) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=80, no_color=not colour, highlight=False, markup=False, emoji=False,
        color_system="standard" if colour else None, legacy_windows=False,
    )  # fmt: skip


def written(target: Console) -> str:
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


class Clock:
    """time.monotonic under our control."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(render, "time", clock)
    return clock


def test_plain_lines_come_every_few_seconds_and_stay_whole(clock: Clock) -> None:
    target = console(terminal=False)
    with terminal_reporter(target) as reporter:
        reporter.stage("Train")
        for step in range(101):
            reporter.progress("train", step, 100, {"loss": 2.5, "tokens_per_second": 1500.0})
            clock.now += 0.25
    lines = written(target).splitlines()
    assert lines[0] == "Train"
    # 25 s of steps at one line per 5 s, and one at the end.
    assert lines[1] == "  train: 20/100 · loss 2.5 · 1.5k tokens/s · 20 s left"
    assert [re.findall(r"(\d+)/100", line)[0] for line in lines[1:-1]] == ["20", "40", "60", "80", "100"]
    assert lines[-2].endswith("took 25 s")
    assert lines[-1] == "  done in 25 s"


def test_counts_that_pass_in_a_blink_leave_no_line(clock: Clock) -> None:
    del clock
    target = console(terminal=False)
    with terminal_reporter(target) as reporter:
        reporter.progress("load", 0, 2)
        reporter.progress("load", 2, 2)
    assert written(target) == ""


def test_checks_show_measurement_and_advice_only_when_they_fail() -> None:
    target = console(terminal=False)
    with terminal_reporter(target) as reporter:
        reporter.check(Check("a.good", "Rows [1] fit.", 1, 2, "GiB", True, "never shown"))
        reporter.check(Check("a.bad", "Disk is large enough.", 1, 2, "GiB", False, "Free some space."))
        reporter.say("Read /data/[x].jsonl")
        reporter.say("2 rows were dropped.", "warning")
    assert written(target).splitlines() == [
        "  ✓ Rows [1] fit.",
        "  ✗ Disk is large enough.",
        "    a.bad: measured 1 GiB, limit 2 GiB. Free some space.",
        "  Read /data/[x].jsonl",
        "  warning: 2 rows were dropped.",
    ]


def test_live_view_fits_80_columns(clock: Clock) -> None:
    target = console(terminal=True)
    with terminal_reporter(target) as reporter:
        reporter.stage("Train")
        for step in range(1000, 1011):
            detail = {"loss": 1.23456, "validation_loss": 1.5, "tokens_per_second": 98765.0, "memory_bytes": 3.2e9}
            reporter.progress("train", step, 12345, detail | {"learning_rate": 2e-4, "gradient_norm": 0.5})
            clock.now += 60
        assert reporter.live is not None
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written(target))
    frames = [line for line in text.replace("\r", "").splitlines() if "/12345" in line]
    assert any("h " in line and "left" in line for line in frames)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "98.8k tokens/s" in text


def test_no_color_writes_no_colour() -> None:
    for colour in (True, False):
        target = console(terminal=True, colour=colour)
        with terminal_reporter(target) as reporter:
            reporter.check(Check("a", "It holds.", 1, 1, "", True, ""))
        assert ("\x1b[32m" in written(target)) is colour


def test_the_view_closes_when_work_fails() -> None:
    target = console(terminal=True)

    def work() -> None:
        with terminal_reporter(target) as reporter:
            reporter.progress("train", 1, 10)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        work()
    shown, hidden = written(target).rfind("\x1b[?25h"), written(target).rfind("\x1b[?25l")
    assert shown > hidden >= 0  # the cursor is back


def test_eta_and_units() -> None:
    progress = Progress("train", started=0.0, first_done=10, done=20, total=50)
    assert progress.eta_seconds(now=5.0) == 15.0  # 10 steps took 5 s, 30 are left
    assert Progress("train", 0.0, 10, 10, 50).eta_seconds(5.0) is None
    assert format_detail({"memory_bytes": 1024**3, "learning_rate": 1e-4, "wait_seconds": 75, "step": "convert"}) == [
        "memory 1.0 GiB", "lr 1.0e-04", "wait 1 min 15 s", "convert",
    ]  # fmt: skip
