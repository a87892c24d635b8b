"""The page of a review in a real browser, worked by keyboard, with the command behind it."""

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
from typing import Any

import pytest

from tests.browser import CHROMIUM, CTRL, Browser
from tests.tiny import write_chat_rows

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium or chrome on this machine"),
    pytest.mark.skipif(find_spec("websockets") is None, reason="the package websockets is not installed"),
    pytest.mark.slow,
]


@contextmanager
def reviewing(source: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command, and the address that it prints."""
    command = [sys.executable, "-m", "luthier", "data", "review", str(source), "--no-open", *options]
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


def tally(browser: Browser) -> str:
    return browser.ask("document.getElementById('tally').textContent")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_chat_rows(tmp_path / "in.jsonl", 30)


def test_rows_are_kept_dropped_fixed_and_noted_by_keyboard(source: Path, tmp_path: Path) -> None:  # noqa: PLR0915
    decisions = tmp_path / "in.review.jsonl"
    with Browser(tmp_path / "profile") as browser:
        with reviewing(source, "--rows", "6") as (url, _):
            browser.open(url)
            at_row(browser, 1)
            browser.press("k")
            at_row(browser, 2)
            browser.press("D")
            browser.type("says nothing")
            browser.press("Enter")
            at_row(browser, 3)
            browser.press("e")
            browser.wait_for("document.activeElement.tagName === 'TEXTAREA'")
            browser.type(" Really. k d")  # letters in a text decide nothing
            browser.press("Enter", CTRL)
            at_row(browser, 4)
            browser.press("n")
            browser.type("ask Maria")
            browser.press("Enter")
            browser.press("d")
            at_row(browser, 5)
            browser.press("u")
            at_row(browser, 4)
            assert browser.ask("document.getElementById('note').value") == "ask Maria"
            assert tally(browser) == "3 of 6 decided · 1 kept · 1 dropped · 1 fixed"
            browser.press("e")
            browser.type("thrown away")
            browser.press("Escape")
            browser.press("?")
            browser.wait_for("document.getElementById('help').open")
            browser.press("d")  # the help is open: nothing is decided
            browser.press("Escape")
            browser.wait_for("!document.getElementById('help').open")
            browser.press("ArrowLeft")
            at_row(browser, 3)
            assert "Really. k d" in browser.ask("document.getElementById('texts').innerText")
        # The command was killed: all of it is on the disk, the page says that it saves no more, and another command goes on.
        browser.press("k")
        browser.wait_for("!document.getElementById('problem').hidden")
        assert "Not saved" in browser.ask("document.getElementById('problem').textContent")
        assert [line["verdict"] for line in lines(decisions)] == [
            "keep",
            "drop",
            "fix",
            "undecided",
            "drop",
            "undecided",
        ]
        with reviewing(source) as (url, process):
            browser.open(url)
            at_row(browser, 4)  # the first without a decision
            assert tally(browser) == "3 of 6 decided · 1 kept · 1 dropped · 1 fixed"
            for number in (5, 6):
                browser.press("k")
                at_row(browser, number)
            browser.press("k")
            browser.wait_for("!document.getElementById('summary').hidden")
            assert "6 of 6 rows decided: 4 kept, 1 dropped, 1 fixed." in browser.ask("document.body.innerText")
            browser.press("Enter")  # the button that ends it has the focus
            browser.wait_for("!document.getElementById('ended').hidden")
            assert process.stdout is not None
            assert process.wait(20) == 0
            assert "Next: luthier data apply" in process.stdout.read()
        assert [c for c in browser.console if "net::ERR_CONNECTION" not in c] == []
        assert {re.sub(r"^(http://127\.0\.0\.1):\d+/.*", r"\1", address) for address in browser.requests} == {
            "http://127.0.0.1"
        }
    by_row = {line["row"]: line for line in lines(decisions)}
    fixed = next(line for line in by_row.values() if line["verdict"] == "fix")
    (edit,) = fixed["edits"]
    assert edit["after"] == edit["before"] + " Really. k d"
    assert next(line for line in by_row.values() if line["verdict"] == "drop")["note"] == "says nothing"
    kept_with_note = [line for line in by_row.values() if line["note"] == "ask Maria"]
    assert [line["verdict"] for line in kept_with_note] == ["keep"]


def test_a_reload_forgets_nothing_and_ctrl_c_ends_well(source: Path, tmp_path: Path) -> None:
    with reviewing(source, "--rows", "5", "--json") as (url, process), Browser(tmp_path / "profile") as browser:
        browser.open(url)
        at_row(browser, 1)
        browser.press("d")
        at_row(browser, 2)
        browser.open("about:blank")
        browser.open(url)
        at_row(browser, 2)
        assert tally(browser).startswith("1 of 5 decided")
        browser.press("u")  # the first decision is taken back after the reload as before it
        at_row(browser, 1)
        assert tally(browser).startswith("0 of 5 decided")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        content = json.loads(out)
        assert process.returncode == 0
        assert content["num_decided"] == 0
        assert not content["ended_in_page"]


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (1400, True), (400, False), (400, True)])
def test_it_fits_the_screen_and_can_be_read(source: Path, tmp_path: Path, width: int, dark: bool) -> None:
    markup = {
        "messages": [
            {"role": "user", "content": "<b>bold</b> " + "x" * 300},
            {"role": "assistant", "content": "<img src=x onerror=document.title='broken'>"},
        ]
    }
    source.write_text(source.read_text() + json.dumps(markup) + "\n")
    with reviewing(source, "--rows", "31") as (url, _), Browser(tmp_path / "profile", width) as browser:
        browser.resize(width, 900, dark=dark)
        browser.open(url)
        at_row(browser, 1)
        for _ in range(31):
            assert browser.ask("document.documentElement.scrollWidth <= window.innerWidth")
            browser.press("ArrowRight")
        assert browser.ask("document.querySelector('#texts b, #texts img')") is None
        assert browser.ask("document.title").startswith("Review of")
        light = browser.ask("getComputedStyle(document.body).backgroundColor === 'rgb(251, 250, 247)'")
        assert light is not dark
        assert browser.console == []
