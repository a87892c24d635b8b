"""Everything between reading the inputs and the first step: checks on data, preflight, and the untrained model's answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from luthier.checks import data as data_checks
from luthier.checks import preflight as preflight_checks
from luthier.data.collate import collate
from luthier.generate.batched import BatchedEngine
from luthier.generate.protocol import Completion, Request
from luthier.generate.requests import build_request
from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.training.loop import Trainee
from luthier.types import Check, Conversation, Message
from luthier.workflows.assemble import BuiltModel, Inputs
from luthier.workflows.fitting import Fitting
from luthier.workflows.planned import write_plan
from luthier.workflows.recording import record_checks

STEP0_ROWS = 4
PREFLIGHT_NEW_TOKENS = 8


def sample_conversations(inputs: Inputs, most: int) -> list[Conversation]:
    """Conversations to look at closely, chosen by the seed; none for plain documents."""
    rows = [c for c in inputs.data.train_conversations if isinstance(c, Conversation)]
    return random.Random(inputs.recipe.train.seed).sample(rows, min(most, len(rows)))


def check_data(inputs: Inputs) -> list[Check]:
    """Claims about the tokenised rows."""
    sets = [inputs.data.train, inputs.data.validation]
    tokenizer, template = inputs.tokenizer, inputs.template
    cut_at = inputs.data.report.max_length  # documents are cut there, and conversations under overlong: truncate
    ends = template.end_of_turn_ids
    conversations = sample_conversations(inputs, data_checks.SAMPLED_CONVERSATIONS)
    checks = [
        data_checks.answers_end(sets, ends, cut_at),
        data_checks.one_bos(sets, tokenizer.bos_token_id, template.wants_bos),  # type: ignore[arg-type]
        data_checks.rows_are_supervised(sets),
        data_checks.tokenizer_round_trip(tokenizer),
    ]
    if conversations:
        checks.append(data_checks.training_equals_serving(template, conversations))
    return checks


def preflight(
    folder: RunFolder,
    inputs: Inputs,
    built: BuiltModel,
    trainee: Trainee,
    fitting: Fitting,
    reporter: Reporter,
    *,
    before_bytes: int,
) -> list[Check]:
    """The memory plan, then all preflight checks, recorded and reported one by one.

    Args:
        before_bytes: What counted as used before the model was loaded.
    """
    rows = sorted(range(len(inputs.data.train)), key=lambda i: (inputs.data.train.lengths[i], i))[:STEP0_ROWS]
    examples = [inputs.data.train[i] for i in rows]
    largest = partial(trainee.feed.largest_batch, inputs.total_steps)
    write_plan(folder, inputs, largest(), fitting.rung.policy, before_bytes, reporter)
    vocab = inputs.model_config.get_text_config().vocab_size
    engine = make_engine(inputs, built)
    prompt = _preflight_request(inputs)
    steps = [
        lambda: preflight_checks.disk_suffices(folder.path, trainee, built.model),
        lambda: preflight_checks.step0_equals_plain_forward(built.scoring, examples, inputs.placement),
        lambda: preflight_checks.packing_does_not_leak(built.scoring, examples[0], examples[-1], vocab),
        lambda: preflight_checks.longest_row_trains(trainee, largest),
        lambda: preflight_checks.evaluation_runs(trainee, largest),
        lambda: preflight_checks.generation_runs(engine, prompt),
        lambda: preflight_checks.saves_and_reopens(
            built.model, inputs.tokenizer, trainee, folder.path, inputs.recipe.model.name
        ),
    ]
    checks: list[Check] = []
    for done, make in enumerate(steps):
        reporter.progress("preflight", done, len(steps))
        checks.append(make())
        record_checks(folder, reporter, checks[-1:])
        if done == 0 and not checks[0].passed:
            return checks  # the others would write to a disk that is too small
    reporter.progress("preflight", len(steps), len(steps))
    return checks


def _preflight_request(inputs: Inputs) -> Request:
    conversations = sample_conversations(inputs, 1)
    if conversations:
        prompt, _ = split_last_answer(conversations[0])
        ids = inputs.template.prompt_ids(prompt, conversations[0].tools)
    else:
        ids = collate([inputs.data.train[0]]).input_ids_T[:16].tolist()
    return Request(tuple(ids), PREFLIGHT_NEW_TOKENS, inputs.template.end_of_turn_ids)


def split_last_answer(conversation: Conversation) -> tuple[tuple[Message, ...], str]:
    """The messages before the last assistant turn, and that turn's content."""
    last = max(i for i, m in enumerate(conversation.messages) if m.role == "assistant")
    return conversation.messages[:last], conversation.messages[last].content


def make_engine(inputs: Inputs, built: BuiltModel) -> BatchedEngine:
    """The engine that evaluation uses, on the model in memory."""
    return BatchedEngine(built.model, batch_size=inputs.recipe.evaluate.batch_size)  # type: ignore[arg-type]


@dataclass(frozen=True)
class BaseAnswers:
    """The untrained model's answers to validation prompts: what the stop test and the samples compare with.

    They are made before training, so that full fine-tuning needs no second model afterwards.
    """

    rows: tuple[Conversation, ...]
    requests: tuple[Request, ...]
    answers: tuple[Completion, ...]

    def save(self, folder: RunFolder) -> None:
        """Keep the answers for a resume; the prompts are made again from the data."""
        folder.write_json(
            "base_answers.json",
            [{"ids": a.token_ids, "logprobs": a.logprobs, "finish_reason": a.finish_reason} for a in self.answers],
        )

    @classmethod
    def load(cls, folder: RunFolder, inputs: Inputs) -> BaseAnswers:
        """The answers of an interrupted run."""
        rows, requests = stop_test_requests(inputs)
        records = folder.read_json("base_answers.json") or []
        answers = tuple(Completion(tuple(r["ids"]), tuple(r["logprobs"]), r["finish_reason"]) for r in records)
        return cls(rows, requests, answers) if len(answers) == len(rows) else cls((), (), ())


def stop_test_requests(inputs: Inputs) -> tuple[tuple[Conversation, ...], tuple[Request, ...]]:
    """The stop test's validation rows, and the requests for an answer to each."""
    most = inputs.recipe.evaluate.stop_test_rows
    rows = [c for c in inputs.data.validation_conversations if isinstance(c, Conversation)][:most]
    longest = max((len(inputs.tokenizer(split_last_answer(c)[1]).input_ids) for c in rows), default=0)
    # An answer that is as long as the data's must be able to end, whatever max_new_tokens says.
    limit = max(inputs.recipe.evaluate.max_new_tokens, longest + 8)
    requests = [
        build_request(inputs.contract, inputs.template, split_last_answer(c)[0], tools=c.tools, max_new_tokens=limit)
        for c in rows
    ]
    return tuple(rows), tuple(requests)


def stop_test_answers(inputs: Inputs, built: BuiltModel, reporter: Reporter) -> BaseAnswers:
    """Let the untrained model answer the stop test's prompts."""
    rows, requests = stop_test_requests(inputs)
    if not rows:
        return BaseAnswers((), (), ())
    reporter.stage("Answers of the untrained model")
    answers = generate_with_progress(make_engine(inputs, built), requests, reporter, "base answers")
    return BaseAnswers(rows, requests, tuple(answers))


def generate_with_progress(
    engine: BatchedEngine, requests: Sequence[Request], reporter: Reporter, name: str
) -> list[Completion]:
    """Answer all requests, reporting how many are done."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        reporter.progress(name, done, len(requests))

    return engine.generate(requests, advance)
