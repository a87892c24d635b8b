"""A model on this machine that answers questions as an endpoint does.

What several threads ask at once is answered in one batch.
"""

from __future__ import annotations

import threading

from luthier.data.asking import Answer, Question
from luthier.data.template import ChatTemplate
from luthier.errors import DataError, EndpointError
from luthier.generate.protocol import Completion, Engine, Request
from luthier.generate.requests import build_request
from luthier.models.contract import InferenceContract
from luthier.runs.manifest import now


class LocalChat:
    """A `ChatModel` around a generation engine.

    Args:
        name: Which model.
        engine: Runs it.
        contract: How it is used.
        template: ``contract.chat_template(tokenizer)``.
        context_tokens: Positions that it has; None where it does not say.
        parallel: Questions that are answered together.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        contract: InferenceContract,
        template: ChatTemplate,
        *,
        context_tokens: int | None = None,
        parallel: int = 16,
    ) -> None:
        self._name, self._engine, self._contract, self._template = name, engine, contract, template
        self._context_tokens, self._parallel = context_tokens, parallel
        self._waiting: list[_Asked] = []
        self._waiting_lock = threading.Lock()
        self._engine_lock = threading.Lock()
        self._is_stopped = False

    @property
    def name(self) -> str:
        """The model."""
        return self._name

    @property
    def parallel(self) -> int:
        """Questions at once."""
        return self._parallel

    def stop(self) -> None:
        """Give up the batch that runs, and begin no other; returns when the model computes no more.

        A thread that is inside torch when the process ends would abort it.
        """
        self._is_stopped = True
        with self._engine_lock:
            pass

    def end_if_stopped(self, *_: object) -> None:
        """For a hook before each step of the model, so that a long batch can be given up.

        Raises:
            EndpointError: Nobody waits for the answers any more.
        """
        if self._is_stopped:
            raise EndpointError("Stopped.", ends_all=True)

    def ask(self, question: Question) -> Answer:
        """Answer a question. Whoever gets hold of the engine answers for all who wait for it.

        Raises:
            EndpointError: The template refuses the messages, or they are too long.
        """
        asked = _Asked(self._request(question))
        with self._waiting_lock:
            self._waiting.append(asked)
        with self._engine_lock:
            if asked.completion is None:
                self._answer_waiting()
        if asked.completion is None:
            raise EndpointError(asked.why or "Stopped.", ends_all=True)
        completion = asked.completion
        text = self._template.decode(completion.token_ids).strip()
        if not text:
            raise EndpointError(f"{self._name} said nothing.", ends_all=False)
        num_prompt, num_answer = len(asked.request.prompt_ids), len(completion.token_ids)
        return Answer(text, self._name, completion.finish_reason == "length", num_prompt, num_answer, now())

    def _request(self, question: Question) -> Request:
        try:
            request = build_request(
                self._contract,
                self._template,
                question.messages,
                max_new_tokens=question.max_tokens,
                temperature=question.temperature,
                top_p=1.0,
                seed=question.seed,
            )
        except DataError as error:
            raise EndpointError(f"{self._name} cannot be asked this: {error}", ends_all=False) from error
        if self._context_tokens is not None and len(request.prompt_ids) >= self._context_tokens:
            raise EndpointError(
                f"The question has {len(request.prompt_ids):,} tokens, {self._name} takes {self._context_tokens:,}.",
                ends_all=False,
            )
        return request

    def _answer_waiting(self) -> None:
        with self._waiting_lock:
            batch, self._waiting = self._waiting, []
        if self._is_stopped:
            return
        try:
            completions = self._engine.generate([asked.request for asked in batch])
        except Exception as error:
            for asked in batch:
                asked.why = f"{self._name} could not answer: {error}"
            raise
        for asked, completion in zip(batch, completions, strict=True):
            asked.completion = completion


class _Asked:
    def __init__(self, request: Request) -> None:
        self.request = request
        self.completion: Completion | None = None
        self.why = ""
