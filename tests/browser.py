"""A headless Chromium that tests drive as a person does, by real key presses (DevTools protocol over a web socket)."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
NAMED_KEYS = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "ArrowLeft": (37, ""),
    "ArrowRight": (39, ""),
    "Home": (36, ""),
    "End": (35, ""),
    "Tab": (9, ""),
}
CTRL, SHIFT = 2, 8


class Browser:
    """One page. `log` holds what it said on its console and every address that it asked for."""

    def __init__(self, profile: Path, width: int = 1400, height: int = 900) -> None:
        assert CHROMIUM is not None
        self._process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--remote-debugging-port=0",
                "--remote-allow-origins=*",
                f"--window-size={width},{height}",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._id = 0
        self.console: list[str] = []
        self.requests: list[str] = []
        try:
            self._connection = self._connect(profile)
            self._socket = self._connection.__enter__()
        except BaseException:
            self._process.kill()
            raise
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    def _connect(self, profile: Path) -> Any:
        import urllib.request

        from websockets.sync.client import connect

        port_file = profile / "DevToolsActivePort"
        for _ in range(300):
            if port_file.is_file() and len(port_file.read_text().splitlines()) == 2:
                break
            time.sleep(0.1)
        port = port_file.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            page = next(target for target in json.load(answer) if target["type"] == "page")
        return connect(page["webSocketDebuggerUrl"], max_size=None, origin=None)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer."""
        self._id += 1
        self._socket.send(json.dumps({"id": self._id, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            self._note(message)
            if message.get("id") == self._id:
                assert "error" not in message, message["error"]
                return message["result"]

    def _note(self, message: dict[str, Any]) -> None:
        of = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled":
                self.console.append(str([argument.get("value") for argument in of["args"]]))
            case "Runtime.exceptionThrown":
                self.console.append(str(of["exceptionDetails"]))
            case "Log.entryAdded":
                self.console.append(f"{of['entry']['text']} {of['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(of["request"]["url"])

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """As if on another screen."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Go to an address and be there: a second navigation before the first has arrived never ends."""
        self.send("Page.navigate", url=url)
        self.wait_for(f"location.href === {json.dumps(url)}")

    def ask(self, expression: str) -> Any:
        """The value of some JavaScript in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 15) -> Any:
        """Until some JavaScript is true; its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.ask(expression):
                return found
            time.sleep(0.03)
        raise AssertionError(f"never true: {expression}\n{self.ask('document.body.innerText')}\n{self.console}")

    def press(self, key: str, modifiers: int = 0) -> None:
        """One key, down and up."""
        code, text = NAMED_KEYS.get(key) or (ord(key.upper()), key)
        if len(key) == 1 and key.isupper():
            modifiers |= SHIFT
        down: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        typed = {"text": text} if text and not modifiers & CTRL else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **down, **typed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **down)

    def type(self, text: str) -> None:
        """Text into what has the focus."""
        self.send("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """What is seen."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.__exit__(None, None, None)
        self._process.terminate()
        self._process.wait(20)
