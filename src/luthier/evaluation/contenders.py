"""Who answers: the base model with the bare question, the base model with worked examples, the tuned model, and any others.

All get the same system prompt, the same question and the same generation settings. The tuned model is never shown the
examples: it has learnt from rows without them. Others (a second run, a checkpoint, a file, a model behind an endpoint) are
shown the bare question too, each in the template of its own model.
"""

from __future__ import annotations

from dataclasses import dataclass

from luthier.data.template import ChatTemplate
from luthier.evaluation.likelihood import Likelihoods
from luthier.evaluation.protocol import Task, TaskRow
from luthier.generate.chat_model import ChatModel
from luthier.generate.protocol import Engine
from luthier.models.contract import InferenceContract
from luthier.types import Message

ContenderName = str
"""One of `TITLES`, or what another is called: letters, digits, dot, dash, underscore, @."""

TITLES: dict[ContenderName, str] = {
    "base": "base model, question only",
    "few_shot": "base model, with examples",
    "tuned": "tuned model",
}


def title_of(name: ContenderName) -> str:
    """A contender in words."""
    return TITLES.get(name, name)


@dataclass(frozen=True)
class Contender:
    """One that answers.

    Attributes:
        engine: Runs its model; None where it is asked as a `chat`.
        use_adapter: Whether the engine's adapter is switched on.
        examples: Messages between system prompt and question.
        likelihood: Measures texts with the same model; only tasks that generate nothing need it.
        adapter: Which of the engine's adapters; None for the active one.
        chat: Answers messages in the place of an engine.
        contract: How its model is used, where that is not how the run's is.
        template: Its own, likewise.
    """

    name: ContenderName
    engine: Engine | None
    use_adapter: bool
    examples: tuple[Message, ...] = ()
    likelihood: Likelihoods | None = None
    adapter: str | None = None
    chat: ChatModel | None = None
    contract: InferenceContract | None = None
    template: ChatTemplate | None = None

    def messages(self, row: TaskRow) -> tuple[Message, ...]:
        """What the contender is asked: the row's system prompt (the run's stands in where it has none), examples, question."""
        num_system = 1 if row.messages and row.messages[0].role == "system" else 0
        return (*row.messages[:num_system], *self.examples, *row.messages[num_system:])


def three_contenders(
    task: Task,
    *,
    tuned: Engine,
    base: Engine,
    tuned_likelihood: Likelihoods | None = None,
    base_likelihood: Likelihoods | None = None,
) -> list[Contender]:
    """Base, base with the task's examples (where it has any), tuned. For adapters both engines are one."""
    contenders = [Contender("base", base, use_adapter=False, likelihood=base_likelihood)]
    if examples := tuple(task.few_shot()):
        contenders.append(Contender("few_shot", base, use_adapter=False, examples=examples, likelihood=base_likelihood))
    return [*contenders, Contender("tuned", tuned, use_adapter=True, likelihood=tuned_likelihood)]
