"""Who answers questions: a model behind an endpoint, or one on this machine (a run, a built-in name, a folder, a hub id)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import InputError
from luthier.generate.chat_model import ChatModel
from luthier.generate.endpoint import Endpoint
from luthier.reporter import Reporter

DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"
DEFAULT_PARALLEL = {True: 4, False: 16}
"""Questions at once: to an endpoint, to a model on this machine (one batch)."""


@dataclass(frozen=True)
class ChatModelChoice:
    """Which model, and how it is asked.

    Attributes:
        model: As the endpoint names it; on this machine a run, or what a recipe's model.name may be.
        endpoint: Address of an OpenAI-compatible server; None asks a model on this machine.
        key_variable: Environment variable with the key; one that is not set sends none.
        timeout_seconds: For one attempt; None for two minutes.
        per_minute: Questions at most.
        parallel: Questions at once; None for what suits.
    """

    model: str
    endpoint: str | None = None
    key_variable: str = DEFAULT_KEY_VARIABLE
    timeout_seconds: float | None = None
    per_minute: float | None = None
    parallel: int | None = None

    def open(self, reporter: Reporter) -> ChatModel:
        """The model, ready to be asked.

        Raises:
            InputError: The address or a setting makes no sense, or there is no such model.
        """
        parallel = self.parallel or DEFAULT_PARALLEL[self.endpoint is not None]
        if self.endpoint is None:
            if self.per_minute is not None or self.timeout_seconds is not None:
                raise InputError(
                    "--per-minute and --timeout are for endpoints; a model on this machine is asked as fast as it answers."
                )
            return _load(self.model, parallel, reporter)
        return Endpoint(
            self.endpoint,
            self.model,
            key=os.environ.get(self.key_variable) or None,
            timeout_seconds=120.0 if self.timeout_seconds is None else self.timeout_seconds,
            per_minute=self.per_minute,
            parallel=parallel,
        )


def _load(name: str, parallel: int, reporter: Reporter) -> ChatModel:
    from luthier.data.template import ChatTemplate
    from luthier.generate.batched import BatchedEngine
    from luthier.generate.local_chat import LocalChat
    from luthier.models.contract import InferenceContract
    from luthier.models.load import find_model, generation_eos_ids, load_causal_lm, load_tokenizer
    from luthier.models.placement import place
    from luthier.workflows.load_run import load_run

    reporter.stage(f"Load {name}")
    run_folder = next((path for path in (Path(name), Path("runs") / name) if (path / "run.json").is_file()), None)
    model: Any
    if run_folder is not None:
        run = load_run(run_folder, reporter=reporter)
        engine, contract, template, model = run.engine(parallel), run.contract, run.template, run.model
    else:
        source = find_model(name, None, reporter)
        placement = place("auto", "auto")
        template = ChatTemplate.from_tokenizer(load_tokenizer(source))
        eos = generation_eos_ids(source)
        contract = InferenceContract.from_template(template, base_model=name, generation_eos_ids=eos)
        template.stop_ids = contract.stop_ids
        model = load_causal_lm(source, placement.dtype, placement.device)
        engine = BatchedEngine(model, batch_size=parallel)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    chat = LocalChat(name, engine, contract, template, context_tokens=context, parallel=parallel)
    model.register_forward_pre_hook(chat.end_if_stopped)
    return chat
