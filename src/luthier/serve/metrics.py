"""What the server counts, in the text format of Prometheus."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
KIND = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]


class Histogram:
    """Seconds, by how many were at most so many."""

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds

    def lines(self, name: str) -> Iterator[str]:
        """With the buckets cumulated, as the format wants them."""
        total = 0
        for bound, count in zip((*map(str, SECONDS), "+Inf"), self.counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self.sum:.6f}"
        yield f"{name}_count {total}"


class Metrics:
    """Counters since the server began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[Labels] = Counter()
        self._prompt_tokens: Counter[Labels] = Counter()
        self._answer_tokens: Counter[Labels] = Counter()
        self._first_token, self._whole = Histogram(), Histogram()

    @property
    def num_requests(self) -> int:
        """All that were answered or refused."""
        return sum(self._requests.values())

    def request(self, route: str, status: int) -> None:
        """A request ended with this status."""
        with self._lock:
            self._requests[("route", route), ("status", str(status))] += 1

    def first_token(self, seconds: float) -> None:
        """An answer began so long after its request."""
        with self._lock:
            self._first_token.add(seconds)

    def answered(self, model: str, num_prompt: int, num_answer: int, seconds: float) -> None:
        """A request was served, or given up; so many tokens were computed."""
        with self._lock:
            self._prompt_tokens[(("model", model),)] += num_prompt
            self._answer_tokens[(("model", model),)] += num_answer
            self._whole.add(seconds)

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Everything, with the values of the moment (name to help and value)."""
        with self._lock:
            lines = [
                *_counter("luthier_requests_total", "Requests by route and status.", self._requests),
                *_counter("luthier_prompt_tokens_total", "Tokens of prompts.", self._prompt_tokens),
                *_counter("luthier_answer_tokens_total", "Tokens of answers.", self._answer_tokens),
            ]
            for name, help, histogram in (
                ("luthier_first_token_seconds", "From a request to its first token.", self._first_token),
                ("luthier_answer_seconds", "From a request to its end.", self._whole),
            ):
                lines += [f"# HELP {name} {help}", f"# TYPE {name} histogram", *histogram.lines(name)]
        for name, (help, value) in gauges.items():
            lines += [f"# HELP {name} {help}", f"# TYPE {name} gauge", f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _counter(name: str, help: str, values: Mapping[Labels, int]) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} counter"
    for labels, value in sorted(values.items()):
        written = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
        yield f"{name}{{{written}}} {value}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
