"""What a judge and the making of data need of a model: its name, and an answer to a question. Remote and local alike."""

from __future__ import annotations

from typing import Protocol

from luthier.data.asking import Answer, Question


class ChatModel(Protocol):
    """Somebody who answers; several threads may ask at once."""

    @property
    def name(self) -> str:
        """Which model."""
        ...

    @property
    def parallel(self) -> int:
        """How many questions at once serve it best."""
        ...

    def ask(self, question: Question) -> Answer:
        """Answer one question.

        Raises:
            EndpointError: There is no answer to this question, or none to any (`ends_all`).
        """
        ...

    def stop(self) -> None:
        """Answer no more: who waits for another try gives up."""
        ...
