"""The same few validation prompts, answered at every validation: what the model's progress reads like.

Answers are greedy and go through the one engine. Nothing of the training changes by them: no random number is drawn, and
modes and weights are as before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from luthier.errors import ModelError
from luthier.generate.protocol import Completion, Request
from luthier.generate.requests import build_request
from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.types import Conversation
from luthier.workflows.assemble import BuiltModel, Inputs
from luthier.workflows.before_training import make_engine, split_last_answer
from luthier.workflows.recording import SAMPLES_FILE

MOST_NEW_TOKENS = 64
"""Enough to see what an answer is like; the whole of it is for the evaluation."""


class SampleAnswers:
    """Answers `evaluate.sample_prompts` prompts when told to, and writes them into samples_over_time.jsonl."""

    def __init__(self, folder: RunFolder, inputs: Inputs, built: BuiltModel, reporter: Reporter) -> None:
        self._folder, self._inputs, self._reporter = folder, inputs, reporter
        self._engine = make_engine(inputs, built)
        rows = [c for c in inputs.data.validation_conversations if isinstance(c, Conversation)]
        self._rows = rows[: inputs.recipe.evaluate.sample_prompts]
        self._requests = [self._request(row) for row in self._rows]

    def _request(self, row: Conversation) -> Request:
        return build_request(
            self._inputs.contract,
            self._inputs.template,
            split_last_answer(row)[0],
            tools=row.tools,
            max_new_tokens=min(self._inputs.recipe.evaluate.max_new_tokens, MOST_NEW_TOKENS),
            temperature=0.0,
        )

    def take_untrained(self, answers: Mapping[tuple[int, ...], Completion]) -> float:
        """Write the untrained model's answers, by prompt, where they have been made already; else answer. Returns seconds."""
        if not all(request.prompt_ids in answers for request in self._requests):
            return self.answer(0)
        for row, request in zip(self._rows, self._requests, strict=True):
            whole, most = answers[request.prompt_ids], request.max_new_tokens
            is_cut = len(whole.token_ids) > most
            finish = "length" if is_cut else whole.finish_reason
            self._write(0, row, request, Completion(whole.token_ids[:most], whole.logprobs[:most], finish))
        return 0.0

    def answer(self, step: int) -> float:
        """Answer all prompts with the weights after `step` steps; returns the seconds it took."""
        if not self._requests:
            return 0.0
        began = time.perf_counter()
        devices = [self._inputs.placement.device] if self._inputs.placement.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices):
                answers = self._engine.generate(self._requests)
        except ModelError as error:  # weights that give no answer are the training's trouble, and it will say so
            self._reporter.say(f"No sample answers at step {step}: {error}", "warning")
            return time.perf_counter() - began
        for row, request, answer in zip(self._rows, self._requests, answers, strict=True):
            self._write(step, row, request, answer)
        return time.perf_counter() - began

    def _write(self, step: int, row: Conversation, request: Request, answer: Completion) -> None:
        self._folder.append_line(
            SAMPLES_FILE,
            {
                "step": step,
                "prompt": self._inputs.tokenizer.decode(list(request.prompt_ids)),
                "reference": split_last_answer(row)[1],
                "answer": self._inputs.template.decode(answer.token_ids),
                "finish": answer.finish_reason,
            },
        )
