"""Who answers: the base model with the bare question, the base model with worked examples, the tuned model.

All get the same system prompt, the same question and the same generation settings. The tuned model is never shown the
examples: it has learnt from rows without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    """

    name: ContenderName
    engine: Engine
    use_adapter: bool
    examples: tuple[Message, ...] = ()

    def messages(self, row: TaskRow) -> tuple[Message, ...]:
        """What the contender is asked: the row's system prompt (the run's stands in where it has none), examples, question."""
        num_system = 1 if row.messages[0].role == "system" else 0
        return (*row.messages[:num_system], *self.examples, *row.messages[num_system:])


def three_contenders(task: Task, *, tuned: Engine, base: Engine) -> list[Contender]:
    """Base, base with the task's examples (where it has any), tuned. For adapters both engines are one."""
    contenders = [Contender("base", base, use_adapter=False)]
    if examples := tuple(task.few_shot()):
        contenders.append(Contender("few_shot", base, use_adapter=False, examples=examples))
    return [*contenders, Contender("tuned", tuned, use_adapter=True)]
