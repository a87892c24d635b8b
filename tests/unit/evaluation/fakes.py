"""A model that answers from a table, with one token per character: evaluation without a network of neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from luthier.evaluation.protocol import Generation, Score, Scorer, TaskRow
from luthier.generate.protocol import Completion, Request
from luthier.types import Message

STOP = 0


def encode(text: str) -> list[int]:
    return [ord(character) for character in text]


class FakeTemplate:
    """Renders messages as ``role:content|``; what it decodes ends at the stop token."""

    tokenizer = SimpleNamespace(decode=lambda ids: "".join(map(chr, ids)))

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        return encode("".join(f"{m.role}:{m.content}|" for m in messages))

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(i) for i in ids if i != STOP)


FAKE_CONTRACT: Any = SimpleNamespace(max_new_tokens=999, stop_ids=frozenset([STOP]), temperature=0.7, top_p=0.9)


class FakeEngine:
    """Answers with ``answer_to(prompt text, use_adapter)``; keeps the requests. None: an answer that does not stop."""

    def __init__(self, answer_to: Callable[[str, bool], str | None]) -> None:
        self.answer_to = answer_to
        self.requests: list[Request] = []

    def generate(
        self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None
    ) -> list[Completion]:
        self.requests += requests
        completions = []
        for request in requests:
            text = self.answer_to("".join(map(chr, request.prompt_ids)), request.use_adapter)
            ids = [*encode(text), STOP] if text is not None else encode("x" * request.max_new_tokens)
            completions.append(Completion(tuple(ids), (0.0,) * len(ids), "length" if text is None else "stop"))
            if on_progress is not None:
                on_progress(1)
        return completions


class Echo(Scorer):
    """Right if the answer is the reference."""

    name = "echo"
    metric = "accuracy"

    def score(self, row: TaskRow, answer: str) -> Score:
        return Score(float(answer == row.reference), "equal" if answer == row.reference else "other")


class FakeTask:
    """Thirty numbers to be named; ``examples`` is what few_shot gives."""

    name = "numbers"
    generation = Generation(max_new_tokens=7)

    def __init__(self, num_rows: int = 30, examples: Sequence[Message] = ()) -> None:
        self.scorer: Any = Echo()
        self._num_rows, self._examples = num_rows, examples

    def rows(self) -> list[TaskRow]:
        return [
            TaskRow(
                f"n{i}",
                (Message("system", "S"), Message("user", f"q{i}")),
                f"a{i}",
                {"parity": "even" if i % 2 == 0 else "odd"},
            )
            for i in range(self._num_rows)
        ]

    def few_shot(self) -> Sequence[Message]:
        return self._examples
