"""Puts a task's questions to all contenders and judges the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from luthier.data.template import ChatTemplate
from luthier.errors import DataError
from luthier.evaluation.contenders import TITLES, Contender
from luthier.evaluation.likelihood import Continuation, as_answer, as_text
from luthier.evaluation.protocol import LikelihoodScorer, Scorer, Task, TaskRow
from luthier.evaluation.result import Answer, ContenderResult, Sample, TaskResult
from luthier.evaluation.samples import combined
from luthier.generate.protocol import Completion
from luthier.generate.requests import build_request
from luthier.models.contract import InferenceContract
from luthier.reporter import Reporter, Silent
from luthier.types import Message


@dataclass(frozen=True)
class Setting:
    """What all contenders of a task have in common."""

    task: Task
    rows: Sequence[TaskRow]
    contract: InferenceContract
    template: ChatTemplate
    reporter: Reporter

    def progress(self, contender: Contender, total: int) -> Callable[[int], None]:
        """Reports a contender's progress; to be called with what was finished since the last call."""
        name = f"{self.task.name}: {TITLES[contender.name]}"
        done = 0

        def advance(num_finished: int) -> None:
            nonlocal done
            done = min(done + num_finished, total)
            self.reporter.progress(name, done, total)

        self.reporter.progress(name, 0, total)
        return advance


def run_task(
    task: Task,
    contenders: Sequence[Contender],
    *,
    contract: InferenceContract,
    template: ChatTemplate,
    limit: int | None = None,
    reporter: Reporter | None = None,
) -> TaskResult:
    """Answer and judge all rows of a task (or the first `limit`).

    Every contender answers as the task's `generation` says (greedily, unless it wants several samples), with the contract's
    stop tokens, whatever sampling the contract has for serving: a measurement must repeat.

    Raises:
        DataError: The task has no rows.
    """
    began = time.perf_counter()
    rows = list(task.rows())[:limit]
    if not rows:
        raise DataError(f"The task '{task.name}' has no rows, so there is nothing to measure.")
    setting = Setting(task, rows, contract, template, reporter or Silent())
    scorer = task.scorer
    results = tuple(
        _measured(setting, scorer, contender)
        if isinstance(scorer, LikelihoodScorer)
        else _answered(setting, scorer, contender)
        for contender in contenders
    )
    return TaskResult(
        task.name,
        scorer.metric,
        scorer.name,
        results,
        time.perf_counter() - began,
        lower_is_better=scorer.lower_is_better,
        is_share=scorer.is_share,
    )


@dataclass
class _Dialogue:
    """One sample of an answer on its way: what was said so far, and what was answered."""

    row: TaskRow
    messages: list[Message]
    seed: int
    prompt: str = ""
    turns: list[str] = field(default_factory=list)
    completions: list[Completion] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n\n".join(self.turns)


def _answered(setting: Setting, scorer: Scorer, contender: Contender) -> ContenderResult:
    samples = setting.task.generation.samples
    dialogues = [
        _Dialogue(row, list(contender.messages(row)), setting.task.generation.seed + number * samples + sample)
        for number, row in enumerate(setting.rows)
        for sample in range(samples)
    ]
    advance = setting.progress(contender, sum(1 + len(d.row.follow_ups) for d in dialogues))
    for turn in range(1 + max(len(row.follow_ups) for row in setting.rows)):
        running = [dialogue for dialogue in dialogues if turn <= len(dialogue.row.follow_ups)]
        if turn:
            for each in running:
                each.messages += [Message("assistant", each.turns[-1]), Message("user", each.row.follow_ups[turn - 1])]
        _take_turn(setting, contender, running, advance)
    by_row = [dialogues[start : start + samples] for start in range(0, len(dialogues), samples)]
    answers = tuple(_judged(setting, scorer, contender, group) for group in by_row)
    return ContenderResult.of(contender.name, scorer, answers)


def _take_turn(
    setting: Setting, contender: Contender, dialogues: Sequence[_Dialogue], advance: Callable[[int], None]
) -> None:
    generation = setting.task.generation
    requests = [
        build_request(
            setting.contract,
            setting.template,
            dialogue.messages,
            max_new_tokens=generation.max_new_tokens,
            temperature=generation.temperature,
            top_p=generation.top_p,
            seed=dialogue.seed if generation.temperature > 0 else 0,
            use_adapter=contender.use_adapter,
        )
        for dialogue in dialogues
    ]
    completions = contender.engine.generate(requests, advance)
    for dialogue, request, completion in zip(dialogues, requests, completions, strict=True):
        dialogue.prompt = str(setting.template.tokenizer.decode(list(request.prompt_ids)))
        dialogue.completions.append(completion)
        dialogue.turns.append(setting.template.decode(completion.token_ids))


def _judged(setting: Setting, scorer: Scorer, contender: Contender, dialogues: Sequence[_Dialogue]) -> Answer:
    """One row; of several samples the first stands for the row where one text is shown."""
    first = dialogues[0]
    scores = [scorer.score(dialogue.row, dialogue.text) for dialogue in dialogues]
    several = zip(dialogues, scores, strict=True) if len(dialogues) > 1 else ()
    return Answer(
        row=first.row,
        contender=contender.name,
        prompt=first.prompt,
        text=first.text,
        score=combined(scores, setting.task.generation.pass_at),
        finish_reason=first.completions[-1].finish_reason,
        num_tokens=sum(len(completion.token_ids) for completion in first.completions),
        turns=tuple(first.turns),
        samples=tuple(Sample(dialogue.text, score.value, score.why) for dialogue, score in several),
    )


def _measured(setting: Setting, scorer: LikelihoodScorer, contender: Contender) -> ContenderResult:
    assert contender.likelihood is not None, f"{scorer.name} measures probabilities; {contender.name} cannot"
    texts = [list(_continuations(setting, scorer, contender, row)) for row in setting.rows]
    flat = [continuation for group in texts for continuation in group]
    advance = setting.progress(contender, len(flat))
    likelihoods = iter(contender.likelihood.measure(flat, use_adapter=contender.use_adapter, on_progress=advance))
    answers: list[Answer] = []
    for row, group in zip(setting.rows, texts, strict=True):
        score = scorer.judge(row, [next(likelihoods) for _ in group])
        answers.append(
            Answer(
                row=row,
                contender=contender.name,
                prompt=str(setting.template.tokenizer.decode(list(group[0].context_ids))),
                text=score.found or "",
                score=score,
                finish_reason=None,
                num_tokens=sum(len(each.ids) for each in group),
            )
        )
    return ContenderResult.of(contender.name, scorer, tuple(answers))


def _continuations(
    setting: Setting, scorer: LikelihoodScorer, contender: Contender, row: TaskRow
) -> Sequence[Continuation]:
    messages, texts = contender.messages(row), scorer.continuations(row)
    if scorer.prompt_format == "chat" and messages:
        return [as_answer(setting.template, messages, text) for text in texts]
    before = bare_prompt(messages)
    return [as_text(setting.template, before, text) for text in texts]


def bare_prompt(messages: Sequence[Message]) -> str:
    """Messages without a template: a worked example is question, space, answer; empty lines stand between."""
    text = ""
    for message in messages:
        if message.role == "assistant":
            text += f" {message.content}\n\n"
        else:
            text += message.content if message.role != "system" else f"{message.content}\n\n"
    return text
