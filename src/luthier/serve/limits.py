"""What one server takes at most: of a request, of its clients together, and of time."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Each is refused beyond with a status of its own, never cut in silence.

    Attributes:
        prompt_tokens: Of one prompt (400).
        output_tokens: Of one answer (400).
        body_bytes: Of one request's body (413).
        slots: Answers in progress at once; more wait.
        waiting: Answers that may wait; beyond that 429 with Retry-After.
        connections: Open at once (503).
        choices: Answers that one request may ask for (400).
        head_seconds: Until the head of a request is there; then the connection is closed.
        body_seconds: Until its body is there (408).
        answer_seconds: Until its answer is whole, waiting included (504, or an error in the stream).
        drain_seconds: What is running may take so long after SIGTERM.
    """

    prompt_tokens: int = 4096
    output_tokens: int = 1024
    body_bytes: int = 1024**2
    slots: int = 16
    waiting: int = 64
    connections: int = 256
    choices: int = 8
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    answer_seconds: float = 600.0
    drain_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < (0 if name in ("waiting", "drain_seconds") else 1e-3):
                raise InputError(f"The limit {name} is {value:g}; it must be above 0.")
