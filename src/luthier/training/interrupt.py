"""Ctrl-C, SIGTERM and a closed terminal ask the loop to stop after the current step; a second Ctrl-C stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Set by a signal, read by the loop between steps."""

    signal_number: int | None = None


def stop_signals() -> tuple[int, ...]:
    """SIGINT, SIGTERM, and SIGHUP where there is one and nobody (nohup, a detached start) has asked to ignore it."""
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:
        return (signal.SIGINT, signal.SIGTERM)
    return (signal.SIGINT, signal.SIGTERM, hang_up)


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Inside, the signals of `stop_signals` are noted instead of ending the process (in the main thread only)."""
    request = StopRequest()

    def note(number: int, _: FrameType | None) -> None:
        if request.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal_number = number

    with _handled_by(note):
        yield request


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, the signals of `stop_signals` do nothing: for the few writes that say how a run has ended."""
    with _handled_by(signal.SIG_IGN):
        yield


@contextmanager
def _handled_by(handler: object) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in stop_signals()}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
