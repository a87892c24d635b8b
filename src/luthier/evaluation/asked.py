"""What was said to a question, whoever said it; and how a model behind an endpoint is put the questions of a task.

It gets messages, no tokens: the system prompt of the run stands in where a row has none, the settings are those of all. An
empty answer is an answer. A question that is refused, or that fails again and again, counts as not answered and is told;
an endpoint that answers nothing at all ends the evaluation, and what it has answered stays in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

from luthier.data.asking import Answer, Question, about_tokens
from luthier.errors import EmptyAnswerError, EndpointError
from luthier.evaluation.protocol import Generation
from luthier.generate.chat_model import ChatModel
from luthier.generate.in_order import in_order
from luthier.generate.protocol import FinishReason
from luthier.types import Message


class Said(NamedTuple):
    """One answer.

    Attributes:
        prompt: What went into the model, as text.
        problem: Why there is no answer; empty where there is one.
    """

    prompt: str
    text: str
    finish_reason: FinishReason
    num_tokens: int
    problem: str = ""


class SilenceCounts:
    """A `ChatModel` for which saying nothing is an answer; its name holds the address, so that journals keep servers apart.

    Args:
        model: Who is asked.
        name: Which model, and where.
    """

    def __init__(self, model: ChatModel, name: str) -> None:
        self._model, self._name = model, name

    @property
    def name(self) -> str:
        """Which model, and where."""
        return self._name

    @property
    def parallel(self) -> int:
        """Questions at once."""
        return self._model.parallel

    def ask(self, question: Question) -> Answer:
        """The answer; an empty one where the model said nothing.

        Raises:
            EndpointError: As `ChatModel.ask`.
        """
        try:
            return self._model.ask(question)
        except EmptyAnswerError as empty:
            return empty.answer

    def stop(self) -> None:
        """Answer no more."""
        self._model.stop()


def ask_all(
    chat: ChatModel,
    asked: Sequence[tuple[Sequence[Message], int]],
    generation: Generation,
    system_prompt: str | None,
    advance: Callable[[int], None],
) -> list[Said]:
    """Put questions to a model, several at once; answers in the order of the questions.

    Args:
        chat: Who is asked.
        asked: Messages and the seed of each question.
        generation: Settings.
        system_prompt: Put before messages that have none.
        advance: Told of each answer.

    Raises:
        EndpointError: Nobody answers any more.
    """

    def ask(one: tuple[Sequence[Message], int]) -> Said:
        messages = tuple(one[0])
        if system_prompt is not None and messages[0].role != "system":
            messages = (Message("system", system_prompt), *messages)
        prompt = "\n\n".join(f"[{m.role}]\n{m.content}" for m in messages)
        seed = one[1] if generation.temperature > 0 else 0
        try:
            answer = chat.ask(Question(messages, generation.max_new_tokens, generation.temperature, seed))
        except EndpointError as error:
            if error.ends_all:
                raise
            return Said(prompt, "", "stop", 0, str(error))
        num_tokens = answer.answer_tokens or about_tokens(answer.text)
        return Said(prompt, answer.text, "length" if answer.was_cut else "stop", num_tokens)

    found: list[Said] = []
    with closing(in_order(ask, asked, chat.parallel)) as results:
        for said in results:
            found.append(said)
            advance(1)
    return found
