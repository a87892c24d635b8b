"""Signals that ask to stop are noted inside, and their handlers are put back; who asked for hang-ups to be ignored is obeyed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from luthier.training.interrupt import stop_on_signal, stop_signals, undisturbed

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        assert signal.getsignal(number) == handler
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted(number: int) -> None:
    with stop_on_signal() as stop:
        assert stop.signal_number is None
        os.kill(os.getpid(), number)
        assert stop.signal_number == number


def test_a_second_ctrl_c_stops_at_once() -> None:
    with stop_on_signal():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_ignored_hang_up_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signal() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        noted = stop.signal_number
    named = stop_signals()
    signal.signal(signal.SIGHUP, before)
    assert noted is None
    assert named == (signal.SIGINT, signal.SIGTERM)


def test_undisturbed() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard: list[int] = []
    before = {number: signal.signal(number, lambda got, _: heard.append(got)) for number in numbers}
    with undisturbed():
        for number in numbers:
            os.kill(os.getpid(), number)
        assert heard == []
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]
    for number, handler in before.items():
        signal.signal(number, handler)
