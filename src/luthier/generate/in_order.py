"""Work on many things by several threads, results in the order of the things; the first failure ends all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_LOOK_SECONDS = 0.2


def in_order(work: Callable[[Item], Result], items: Sequence[Item], num_threads: int) -> Generator[Result, None, None]:
    """Results, each as soon as it and all before it are there.

    When the iterator is closed or something fails no new work begins. Threads that still wait for an answer do not keep the
    process alive.

    Raises:
        Exception: What `work` raised.
    """
    results: dict[int, Result] = {}
    failures: list[BaseException] = []
    ready = threading.Condition()
    numbers = iter(range(len(items)))
    is_over = False

    def run() -> None:
        while True:
            with ready:
                number = None if is_over or failures else next(numbers, None)
            if number is None:
                return
            try:
                result = work(items[number])
            except BaseException as error:
                with ready:
                    failures.append(error)
                    ready.notify_all()
                return
            with ready:
                results[number] = result
                ready.notify_all()

    for _ in range(min(num_threads, len(items))):
        threading.Thread(target=run, daemon=True, name="asking").start()
    try:
        for number in range(len(items)):
            with ready:
                while number not in results:
                    if failures:
                        raise failures[0]
                    ready.wait(_LOOK_SECONDS)  # short, so that Ctrl-C is seen
                result = results.pop(number)
            yield result
    finally:
        is_over = True
