"""A server on a real socket of this machine around a tiny model with two adapters, and a plain client of it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, get_peft_model

from luthier.data.template import ChatTemplate
from luthier.models.contract import InferenceContract
from luthier.pages.chat import chat_page
from luthier.serve.app import Adapters, Api
from luthier.serve.engine import ServingEngine
from luthier.serve.http_server import HttpServer, bind, own_names
from luthier.serve.keys import Keys
from luthier.serve.limits import Limits
from luthier.serve.refusal import RefusedError
from luthier.serve.served import ServedModel, ServedModels
from tests.tiny import tiny_model, tiny_tokenizer

ADAPTERS = ("red", "blue")


def model_with_adapters(names: Collection[str] = ADAPTERS, **lora: Any) -> Any:
    """A tiny model in fp32 with LoRA adapters that change what it says; the same for the same names."""
    model: Any = tiny_model("llama-tied", vocab_size=len(tiny_tokenizer()), max_position_embeddings=512)
    config = LoraConfig(
        r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM", **lora
    )
    for number, name in enumerate(names):
        if number == 0:
            model = get_peft_model(model, config, adapter_name=name)
        else:
            model.add_adapter(name, config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval().requires_grad_(False)


class NoRuns:
    """Nothing to load."""

    def names(self) -> list[str]:
        return []

    def open(self, name: str) -> Any:
        raise RefusedError(404, f"There is no run '{name}'.")

    def remover(self, model: ServedModel) -> Callable[[Any], Any]:
        from functools import partial

        from luthier.serve.adapter_swap import remove_adapter

        return partial(remove_adapter, name=model.adapter)


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


@dataclass
class Place:
    """A running server."""

    engine: ServingEngine
    template: ChatTemplate
    contract: InferenceContract
    server: HttpServer
    port: int
    key: str | None = None

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = self.connect()
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if self.key:
            sent["Authorization"] = f"Bearer {self.key}"
        connection.request(method, path, raw, sent | {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = Answer(answer.status, answer.headers, answer.read())
        connection.close()
        return found

    def chat(self, model: str, text: str, **fields: Any) -> Answer:
        return self.ask("POST", "/v1/chat/completions", chat_body(model, text, **fields))

    def stream(self, body: dict[str, Any], path: str = "/v1/chat/completions") -> list[Any]:
        answer = self.ask("POST", path, body | {"stream": True})
        assert answer.status == 200, answer.body
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        *events, end = answer.body.decode().removesuffix("\n\n").split("\n\n")
        assert end == "data: [DONE]"
        return [json.loads(event.removeprefix("data: ")) for event in events]


def chat_body(model: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


@contextmanager
def serving(
    model: Any = None,
    *,
    limits: Limits | None = None,
    key: str | None = None,
    step_seconds: float = 0.0,
    adapters: Adapters | None = None,
) -> Iterator[Place]:
    """A server with the models base, red and blue.

    `step_seconds` makes each step take at least so long; then the model never stops by itself, too.
    """
    model = model or model_with_adapters()
    limits = limits or Limits(prompt_tokens=300, output_tokens=200)
    template = ChatTemplate.from_tokenizer(tiny_tokenizer())
    contract = InferenceContract.from_template(template, base_model="tiny", max_new_tokens=24)
    if step_seconds:

        def slow(_: Any, __: Any, output: Any) -> None:
            time.sleep(step_seconds)
            output.logits[..., sorted(contract.stop_ids)] = -1e9

        model.register_forward_hook(slow)
    engine = ServingEngine(
        model,
        slots=limits.slots,
        capacity_tokens=limits.prompt_tokens + limits.output_tokens,
        waiting=limits.waiting,
    )
    served = ServedModels()
    served.add(ServedModel("base", "base", contract, template))
    for name in getattr(model, "peft_config", ()):
        served.add(ServedModel(name, "adapter", contract, template, name))
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    keys = Keys([key, "another-key-that-is-valid"] if key else [])
    hosts = own_names("127.0.0.1", port)
    api = Api(engine, served, adapters or NoRuns(), limits=limits, keys=keys, hosts=hosts, page=chat_page())
    ready = threading.Event()
    server = HttpServer(api.asgi, listener, limits, ready.set)
    thread = threading.Thread(target=server.run_until_told, daemon=True)
    engine.start()
    thread.start()
    assert ready.wait(20)
    try:
        yield Place(engine, template, contract, server, port, key)
    finally:
        server.should_exit = True
        thread.join(30)
        engine.stop()
        api.close()
        listener.close()
