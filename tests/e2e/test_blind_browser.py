"""The page of a blind comparison in a real browser, worked by keyboard, with the command behind it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from luthier.runs.folder import RunFolder
from tests.browser import CHROMIUM, Browser
from tests.evaluated_run import evaluated_run

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium or chrome on this machine"),
    pytest.mark.skipif(find_spec("websockets") is None, reason="the package websockets is not installed"),
    pytest.mark.slow,
]
MARKUP = "<img src=x onerror=document.title='broken'><b>bold</b> " + "x" * 300


@contextmanager
def comparing(run: RunFolder, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command, and the address that it prints."""
    command = [sys.executable, "-m", "luthier", "blind", str(run.path), "--no-open", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\S+", line):
                yield found[0], process
                break
        else:
            raise AssertionError(process.communicate())
    finally:
        process.kill()
        process.communicate()


def at_row(browser: Browser, number: int) -> None:
    browser.wait_for(f"document.getElementById('place')?.textContent.startsWith('Row {number} of')")


def text(browser: Browser, name: str) -> str:
    return browser.ask(f"document.getElementById('{name}').innerText")


def decisions(run: RunFolder) -> list[tuple[int, str, str]]:
    lines = (run / "evaluation/blind/numbers-base.jsonl").read_text().splitlines()[1:]
    return [(line["number"], line["choice"], line["note"]) for line in map(json.loads, lines)]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return evaluated_run(tmp_path / "mine", lambda name, i: f"{'yes' if name == 'tuned' else 'no'}, {i}", num_rows=30)


def test_answers_are_compared_by_keyboard(run: RunFolder, tmp_path: Path) -> None:  # noqa: PLR0915
    with Browser(tmp_path / "profile") as browser:
        with comparing(run, "--rows", "6", "--seed", "3") as (url, _):
            browser.open(url)
            at_row(browser, 1)
            assert {text(browser, side).splitlines()[-1][:2] for side in ("left", "right")} == {"ye", "no"}
            browser.press("ArrowLeft")
            at_row(browser, 2)
            browser.press("ArrowRight")
            at_row(browser, 3)
            browser.press("n")
            browser.type("tub")  # letters in a note decide nothing
            browser.press("Enter")
            browser.press("t")
            at_row(browser, 4)
            browser.press("b")
            at_row(browser, 5)
            browser.press("u")
            at_row(browser, 4)
            assert text(browser, "tally") == "3 of 6 decided"
            browser.press("p")
            at_row(browser, 3)
            assert browser.ask("document.getElementById('note').value") == "tub"
            assert browser.ask("document.getElementById('choose-tie').getAttribute('aria-pressed')") == "true"
            browser.press("?")
            browser.wait_for("document.getElementById('help').open")
            browser.press("b")  # the help is open: nothing is decided
            browser.press("Escape")
            browser.wait_for("!document.getElementById('help').open")
            assert "tuned" not in browser.ask("document.body.innerHTML")
        # The command was killed: all of it is on the disk, the page says that it saves no more, and another command goes on.
        browser.press("b")
        browser.wait_for("!document.getElementById('problem').hidden")
        assert "Not saved" in text(browser, "problem")
        assert decisions(run) == [
            (0, "left", ""),
            (1, "right", ""),
            (2, "undecided", "tub"),
            (2, "tie", "tub"),
            (3, "both_bad", ""),
            (3, "undecided", ""),
        ]
        with comparing(run) as (url, process):
            browser.open(url)
            at_row(browser, 4)  # the first without a decision
            for number in (4, 5, 6):
                at_row(browser, number)
                is_left = "yes" in text(browser, "left")
                browser.press("ArrowLeft" if is_left else "ArrowRight")
            browser.wait_for("!document.getElementById('summary').hidden")
            assert "6 of 6 rows are decided; 1 is a tie, 0 have two bad answers." in text(browser, "summary")
            browser.press("Enter")  # the button that ends it has the focus
            browser.wait_for("!document.getElementById('ended').hidden")
            assert text(browser, "result").startswith("tuned − base: ")
            assert process.stdout is not None
            assert process.wait(20) == 0
            assert "Next:   luthier report" in process.stdout.read()
        assert [c for c in browser.console if "net::ERR_CONNECTION" not in c] == []
        assert {re.sub(r"^(http://127\.0\.0\.1):\d+/.*", r"\1", address) for address in browser.requests} == {
            "http://127.0.0.1"
        }
    summary = run.read_json("evaluation/numbers.people-base/summary.json")
    assert summary["num_rows"] == 6
    assert summary["contenders"]["tuned"]["figures"]["ties"] == 1
    lefts = [row["left"] for row in json.loads((run / "evaluation/blind/numbers-base.jsonl").open().readline())["rows"]]
    # Rows 4 to 6 by what was said; rows 1 and 2 by the side that was drawn.
    wins = 3 + (lefts[0] == "tuned") + (lefts[1] == "base")
    assert summary["contenders"]["tuned"]["figures"]["wins"] == wins


def test_a_reload_forgets_nothing_and_ctrl_c_ends_well(run: RunFolder, tmp_path: Path) -> None:
    with comparing(run, "--rows", "5", "--json") as (url, process), Browser(tmp_path / "profile") as browser:
        browser.open(url)
        at_row(browser, 1)
        browser.press("t")
        at_row(browser, 2)
        browser.open("about:blank")
        browser.open(url)
        at_row(browser, 2)
        browser.press("u")  # the first decision is taken back after the reload as before it
        at_row(browser, 1)
        assert text(browser, "tally") == "0 of 5 decided"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert json.loads(out) | {"decisions": ""} == {"decisions": "", "num_left": 5, "task": None}


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (1400, True), (400, False), (400, True)])
def test_it_fits_the_screen_and_can_be_read(tmp_path: Path, width: int, dark: bool) -> None:
    run = evaluated_run(tmp_path / "m", lambda name, i: (MARKUP + name) * (i % 3) if name == "tuned" else f"{i} " * 300)
    with comparing(run, "--rows", "8") as (url, _), Browser(tmp_path / "profile", width) as browser:
        browser.resize(width, 900, dark=dark)
        browser.open(url)
        at_row(browser, 1)
        for _ in range(8):
            assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth")
            browser.press("s")
        assert browser.ask("document.querySelector('.text b, .text img')") is None
        assert browser.ask("document.title").startswith("Blind comparison of")
        light = browser.ask("getComputedStyle(document.body).backgroundColor === 'rgb(251, 250, 247)'")
        assert light is not dark
        assert browser.console == []
