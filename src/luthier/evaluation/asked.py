"""What was said to a question, whoever said it; and how a model behind an endpoint is put the questions of a task.

It gets messages, no tokens: the system prompt of the run stands in where a row has none, the settings are those of all. An
empty answer is an answer. A question that is refused, or that fails again and again, counts as not answered and is told;
an endpoint that answers nothing at all ends the evaluation, and what it has answered stays in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from luthier.data.asking import Answer, Question, about_tokens
from luthier.errors import EmptyAnswerError, EndpointError
from luthier.evaluation.protocol import Generation, Task
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
        question = question_of(one[0], one[1], generation, system_prompt)
        prompt = "\n\n".join(f"[{m.role}]\n{m.content}" for m in question.messages)
        try:
            answer = chat.ask(question)
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


def question_of(messages: Sequence[Message], seed: int, generation: Generation, system_prompt: str | None) -> Question:
    """What a model is asked, by a task's settings."""
    asked = tuple(messages)
    if system_prompt is not None and asked[0].role != "system":
        asked = (Message("system", system_prompt), *asked)
    seed = seed if generation.temperature > 0 else 0
    return Question(asked, generation.max_new_tokens, generation.temperature, seed)


def questions_of(task: Task, system_prompt: str | None) -> Iterator[Question]:
    """All that a task asks; where a question follows an answer, about what it will be."""
    generation = task.generation
    for number, row in enumerate(task.rows()):
        for sample in range(generation.samples):
            messages = list(row.messages)
            for follow_up in (None, *row.follow_ups):
                if follow_up is not None:
                    messages += [Message("assistant", "…"), Message("user", follow_up)]
                yield question_of(
                    messages, generation.seed + number * generation.samples + sample, generation, system_prompt
                )
