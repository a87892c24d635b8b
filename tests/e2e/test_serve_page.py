"""The page of the server in a real browser, worked by keyboard."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from luthier.serve.limits import Limits
from tests.browser import CHROMIUM, Browser
from tests.serving import eventually, serving

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium or chrome on this machine"),
    pytest.mark.skipif(find_spec("websockets") is None, reason="the package websockets is not installed"),
    pytest.mark.slow,
]
SIDES = "document.querySelectorAll('.side').length"
RESTING = "!document.querySelector('.running')"


def test_two_models_side_by_side(tmp_path: Path) -> None:
    with serving() as place, Browser(tmp_path / "profile") as browser:
        url = f"http://127.0.0.1:{place.port}/"
        browser.open(url)
        browser.wait_for("document.getElementById('first').value === 'red'")
        assert browser.ask("document.getElementById('second').value") == "base"
        assert browser.ask("document.activeElement.id") == "message"
        browser.type("<img src=x onerror=document.title='broken'>")
        browser.press("Enter")
        browser.wait_for(f"{SIDES} === 2 && {RESTING}")
        shown = browser.ask("[...document.querySelectorAll('.side p:first-of-type')].map((p) => p.textContent)")
        for name, text in zip(("red", "base"), shown, strict=True):
            asked = "<img src=x onerror=document.title='broken'>"
            assert text == place.chat(name, asked).json["choices"][0]["message"]["content"]
        browser.type("Again")
        browser.press("Enter")
        browser.wait_for(f"{SIDES} === 4 && {RESTING}")
        assert browser.ask("document.title") == "Chat – Luthier"
        assert browser.console == []
        assert all(request.startswith(url) for request in browser.requests)
        for width in (1400, 380):
            browser.resize(width, 800, dark=width == 380)
            assert browser.ask("document.documentElement.scrollWidth <= innerWidth")


def test_escape_stops_and_frees_the_slots(tmp_path: Path) -> None:
    limits = Limits(prompt_tokens=100, output_tokens=400)
    with serving(limits=limits, step_seconds=0.3) as place, Browser(tmp_path / "profile") as browser:
        browser.open(f"http://127.0.0.1:{place.port}/")
        browser.wait_for("document.getElementById('first').value === 'red'")
        browser.type("Go on")
        browser.press("Enter")
        eventually(lambda: place.engine.num_active == 2)
        browser.press("Escape")
        browser.wait_for(f"{RESTING} && document.querySelectorAll('.note')[1].textContent === 'stopped'")
        eventually(lambda: place.engine.num_active == 0)
        assert browser.console == []


def test_a_key_is_asked_for_and_kept_in_the_page_alone(tmp_path: Path) -> None:
    key = "a-key-of-good-length"
    with serving(key=key) as place, Browser(tmp_path / "profile") as browser:
        browser.open(f"http://127.0.0.1:{place.port}/")
        browser.wait_for("!document.getElementById('key-form').hidden")
        browser.ask("document.getElementById('key').focus()")
        browser.type("wrong")
        browser.press("Enter")
        browser.wait_for("document.getElementById('problem').textContent.includes('wrong')")
        browser.ask("document.getElementById('key').value = ''")
        browser.ask("document.getElementById('key').focus()")
        browser.type(key)
        browser.press("Enter")
        browser.wait_for(
            "document.getElementById('key-form').hidden && document.getElementById('first').value === 'red'"
        )
        assert browser.ask("JSON.stringify([localStorage, sessionStorage, document.cookie])") == '[{},{},""]'
