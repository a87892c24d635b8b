"""Puts a task's questions to all contenders and judges the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from luthier.data.template import ChatTemplate
from luthier.errors import DataError
from luthier.evaluation.asked import Said, ask_all
from luthier.evaluation.contenders import Contender, ContenderName, title_of
from luthier.evaluation.likelihood import Continuation, as_answer, as_text
from luthier.evaluation.protocol import LikelihoodScorer, Scorer, Task, TaskRow
from luthier.evaluation.result import Answer, ContenderResult, Sample, TaskResult
from luthier.evaluation.samples import combined
from luthier.generate.protocol import FinishReason, Request
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

    def template_of(self, contender: Contender) -> ChatTemplate:
        """A contender's own, or the run's."""
        return contender.template or self.template

    def progress(self, contenders: Sequence[Contender], total: int) -> Callable[[int], None]:
        """Reports the progress of contenders that answer together; to be called with what was finished since the last call."""
        name = f"{self.task.name}: {' + '.join(title_of(each.name) for each in contenders)}"
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
    stop tokens, whatever sampling the contract has for serving: a measurement must repeat. Contenders that are adapters of one
    engine answer in one batch. One that cannot tell probabilities (an endpoint) has no result where the task wants them.

    Raises:
        DataError: The task has no rows.
    """
    began = time.perf_counter()
    rows = list(task.rows())[:limit]
    if not rows:
        raise DataError(f"The task '{task.name}' has no rows, so there is nothing to measure.")
    setting = Setting(task, rows, contract, template, reporter or Silent())
    scorer = task.scorer
    if isinstance(scorer, LikelihoodScorer):
        results = tuple(_measured(setting, scorer, each) for each in contenders if each.chat is None)
    else:
        groups = _answering_together(contenders)
        results = tuple(result for group in groups for result in _answered(setting, scorer, group))
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
    """One sample of a contender's answer on its way: what was said so far, and what was answered."""

    contender: Contender
    row: TaskRow
    messages: list[Message]
    seed: int
    prompt: str = ""
    turns: list[str] = field(default_factory=list)
    finish_reason: FinishReason = "stop"
    num_tokens: int = 0

    @property
    def text(self) -> str:
        return "\n\n".join(self.turns)

    def take(self, said: Said) -> None:
        """The next answer."""
        self.prompt, self.finish_reason = said.prompt, said.finish_reason
        self.turns.append(said.text)
        self.num_tokens += said.num_tokens


def _answering_together(contenders: Sequence[Contender]) -> Iterator[list[Contender]]:
    """Adapters of one engine in one group, where the first of them stands; any other contender alone."""
    done: set[ContenderName] = set()
    for contender in contenders:
        if contender.name not in done:
            group = [contender]
            if contender.use_adapter and contender.engine is not None:
                group = [each for each in contenders if each.use_adapter and each.engine is contender.engine]
            done |= {each.name for each in group}
            yield group


def _answered(setting: Setting, scorer: Scorer, contenders: Sequence[Contender]) -> list[ContenderResult]:
    samples = setting.task.generation.samples
    dialogues = [
        _Dialogue(
            contender, row, list(contender.messages(row)), setting.task.generation.seed + number * samples + sample
        )
        for contender in contenders
        for number, row in enumerate(setting.rows)
        for sample in range(samples)
    ]
    advance = setting.progress(contenders, sum(1 + len(d.row.follow_ups) for d in dialogues))
    for turn in range(1 + max(len(row.follow_ups) for row in setting.rows)):
        running = [dialogue for dialogue in dialogues if turn <= len(dialogue.row.follow_ups)]
        if turn:
            for each in running:
                each.messages += [Message("assistant", each.turns[-1]), Message("user", each.row.follow_ups[turn - 1])]
        _take_turn(setting, contenders[0], running, advance)
    by_row = [dialogues[start : start + samples] for start in range(0, len(dialogues), samples)]
    answers = [_judged(setting, scorer, group) for group in by_row]
    return [
        ContenderResult.of(each.name, scorer, tuple(a for a in answers if a.contender == each.name))
        for each in contenders
    ]


def _take_turn(
    setting: Setting, first: Contender, dialogues: Sequence[_Dialogue], advance: Callable[[int], None]
) -> None:
    """The next answer in all dialogues; their contenders have the engine or chat of the first."""
    if first.chat is not None:
        asked = [(dialogue.messages, dialogue.seed) for dialogue in dialogues]
        said = ask_all(first.chat, asked, setting.task.generation, setting.contract.system_prompt, advance)
        _tell_unanswered(setting, first, said)
    else:
        said = _generated(setting, first, dialogues, advance)
    for dialogue, one in zip(dialogues, said, strict=True):
        dialogue.take(one)


def _tell_unanswered(setting: Setting, contender: Contender, said: Sequence[Said]) -> None:
    problems = [one.problem for one in said if one.problem]
    if problems:
        setting.reporter.say(
            f"{setting.task.name}: {title_of(contender.name)} left {len(problems)} of {len(said)} questions unanswered; they "
            f"count as empty answers, and are asked again next time. The first: {problems[0]}",
            "warning",
        )


def _generated(
    setting: Setting, first: Contender, dialogues: Sequence[_Dialogue], advance: Callable[[int], None]
) -> list[Said]:
    generation = setting.task.generation
    requests: list[Request] = []
    for dialogue in dialogues:
        contender = dialogue.contender
        request = build_request(
            contender.contract or setting.contract,
            setting.template_of(contender),
            dialogue.messages,
            max_new_tokens=generation.max_new_tokens,
            temperature=generation.temperature,
            top_p=generation.top_p,
            seed=dialogue.seed if generation.temperature > 0 else 0,
            use_adapter=contender.use_adapter,
        )
        requests.append(replace(request, adapter=contender.adapter))
    assert first.engine is not None
    said: list[Said] = []
    for dialogue, request, completion in zip(
        dialogues, requests, first.engine.generate(requests, advance), strict=True
    ):
        template = setting.template_of(dialogue.contender)
        prompt = str(template.tokenizer.decode(list(request.prompt_ids)))
        text = template.decode(completion.token_ids)
        said.append(Said(prompt, text, completion.finish_reason, len(completion.token_ids)))
    return said


def _judged(setting: Setting, scorer: Scorer, dialogues: Sequence[_Dialogue]) -> Answer:
    """One row; of several samples the first stands for the row where one text is shown."""
    first = dialogues[0]
    scores = [scorer.score(dialogue.row, dialogue.text) for dialogue in dialogues]
    several = zip(dialogues, scores, strict=True) if len(dialogues) > 1 else ()
    return Answer(
        row=first.row,
        contender=first.contender.name,
        prompt=first.prompt,
        text=first.text,
        score=combined(scores, setting.task.generation.pass_at),
        finish_reason=first.finish_reason,
        num_tokens=first.num_tokens,
        turns=tuple(first.turns),
        samples=tuple(Sample(dialogue.text, score.value, score.why) for dialogue, score in several),
    )


def _measured(setting: Setting, scorer: LikelihoodScorer, contender: Contender) -> ContenderResult:
    assert contender.likelihood is not None, f"{scorer.name} measures probabilities; {contender.name} cannot"
    texts = [list(_continuations(setting, scorer, contender, row)) for row in setting.rows]
    flat = [continuation for group in texts for continuation in group]
    advance = setting.progress([contender], len(flat))
    likelihoods = iter(contender.likelihood.measure(flat, use_adapter=contender.use_adapter, on_progress=advance))
    answers: list[Answer] = []
    for row, group in zip(setting.rows, texts, strict=True):
        score = scorer.judge(row, [next(likelihoods) for _ in group])
        answers.append(
            Answer(
                row=row,
                contender=contender.name,
                prompt=str(setting.template_of(contender).tokenizer.decode(list(group[0].context_ids))),
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
    template = setting.template_of(contender)
    messages, texts = contender.messages(row), scorer.continuations(row)
    if scorer.prompt_format == "chat" and messages:
        return [as_answer(template, messages, text) for text in texts]
    before = bare_prompt(messages)
    return [as_text(template, before, text) for text in texts]


def bare_prompt(messages: Sequence[Message]) -> str:
    """Messages without a template: a worked example is question, space, answer; empty lines stand between."""
    text = ""
    for message in messages:
        if message.role == "assistant":
            text += f" {message.content}\n\n"
        else:
            text += message.content if message.role != "system" else f"{message.content}\n\n"
    return text
