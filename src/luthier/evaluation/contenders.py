"""Who answers: the base model with the bare question, the base model with worked examples, the tuned model.

All get the same system prompt, the same question and the same generation settings. The tuned model is never shown the
examples: it has learnt from rows without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from luthier.evaluation.likelihood import LikelihoodModel
from luthier.evaluation.protocol import Task, TaskRow
from luthier.generate.protocol import Engine
from luthier.types import Message

ContenderName = Literal["base", "few_shot", "tuned"]

TITLES: dict[ContenderName, str] = {
    "base": "base model, question only",
    "few_shot": "base model, with examples",
    "tuned": "tuned model",
}


@dataclass(frozen=True)
class Contender:
    """One that answers.

    Attributes:
        engine: Runs its model.
        use_adapter: Whether the engine's adapter is switched on.
        examples: Messages between system prompt and question.
        likelihood: Measures texts with the same model; only tasks that generate nothing need it.
    """

    name: ContenderName
    engine: Engine
    use_adapter: bool
    examples: tuple[Message, ...] = ()
    likelihood: LikelihoodModel | None = None

    def messages(self, row: TaskRow) -> tuple[Message, ...]:
        """What the contender is asked: the row's system prompt (the run's stands in where it has none), examples, question."""
        num_system = 1 if row.messages and row.messages[0].role == "system" else 0
        return (*row.messages[:num_system], *self.examples, *row.messages[num_system:])


def three_contenders(
    task: Task,
    *,
    tuned: Engine,
    base: Engine,
    tuned_likelihood: LikelihoodModel | None = None,
    base_likelihood: LikelihoodModel | None = None,
) -> list[Contender]:
    """Base, base with the task's examples (where it has any), tuned. For adapters both engines are one."""
    contenders = [Contender("base", base, use_adapter=False, likelihood=base_likelihood)]
    if examples := tuple(task.few_shot()):
        contenders.append(Contender("few_shot", base, use_adapter=False, examples=examples, likelihood=base_likelihood))
    return [*contenders, Contender("tuned", tuned, use_adapter=True, likelihood=tuned_likelihood)]
