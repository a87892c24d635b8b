"""Puts a task's questions to all contenders and judges the answers."""

from __future__ import annotations

import time
from collections.abc import Sequence

from luthier.data.template import ChatTemplate
from luthier.errors import DataError
from luthier.evaluation.contenders import TITLES, Contender
from luthier.evaluation.protocol import Task, TaskRow
from luthier.evaluation.result import Answer, ContenderResult, TaskResult
from luthier.generate.protocol import Completion
from luthier.generate.requests import build_request
from luthier.models.contract import InferenceContract
from luthier.reporter import Reporter, Silent


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

    Every contender answers greedily (temperature 0), up to the task's `max_new_tokens`, with the contract's stop tokens,
    whatever sampling the contract has for serving: a measurement must repeat.

    Raises:
        DataError: The task has no rows.
    """
    began = time.perf_counter()
    rows = list(task.rows())[:limit]
    if not rows:
        raise DataError(f"The task '{task.name}' has no rows, so there is nothing to measure.")
    results = tuple(
        _answer(task, rows, contender, contract, template, reporter or Silent()) for contender in contenders
    )
    return TaskResult(task.name, task.metric, task.scorer.name, results, time.perf_counter() - began)


def _answer(
    task: Task,
    rows: Sequence[TaskRow],
    contender: Contender,
    contract: InferenceContract,
    template: ChatTemplate,
    reporter: Reporter,
) -> ContenderResult:
    requests = [
        build_request(
            contract,
            template,
            contender.messages(row),
            max_new_tokens=task.max_new_tokens,
            temperature=0.0,
            use_adapter=contender.use_adapter,
        )
        for row in rows
    ]
    name = f"{task.name}: {TITLES[contender.name]}"
    done = 0

    def advance(num_finished: int) -> None:
        nonlocal done
        done += num_finished
        reporter.progress(name, done, len(rows))

    reporter.progress(name, 0, len(rows))
    completions = contender.engine.generate(requests, advance)
    answers = [
        _judge(task, row, contender, str(template.tokenizer.decode(list(request.prompt_ids))), completion, template)
        for row, request, completion in zip(rows, requests, completions, strict=True)
    ]
    return ContenderResult(contender.name, tuple(answers))


def _judge(
    task: Task, row: TaskRow, contender: Contender, prompt: str, completion: Completion, template: ChatTemplate
) -> Answer:
    text = template.decode(completion.token_ids)
    return Answer(
        row=row,
        contender=contender.name,
        prompt=prompt,
        text=text,
        score=task.scorer.score(row, text),
        finish_reason=completion.finish_reason,
        num_tokens=len(completion.token_ids),
    )
