"""Which models a server has: by the names that clients use, each with how it is to be asked."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from luthier.data.template import ChatTemplate
from luthier.models.contract import InferenceContract
from luthier.serve.refusal import RefusedError


@dataclass(frozen=True)
class ServedModel:
    """A name that a client may ask for.

    Attributes:
        name: As clients write it.
        kind: The base model, an adapter on it, or a model of its own (fully tuned, merged).
        contract: How it is used.
        template: ``contract.chat_template(tokenizer)``.
        adapter: Its name in PEFT; None where the weights answer as they are.
        created: Seconds since 1970.
    """

    name: str
    kind: Literal["base", "adapter", "model"]
    contract: InferenceContract
    template: ChatTemplate
    adapter: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    def to_json(self) -> dict[str, Any]:
        """An entry of ``/v1/models``. Of a base model that is a folder only the last part: paths are nobody's business."""
        base = self.contract.base_model
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "luthier",
            "kind": self.kind,
            "temperature": self.contract.temperature,
            "max_new_tokens": self.contract.max_new_tokens,
            "base_model": base if base.count("/") == 1 and base[0] not in "./~" else PurePath(base).name,
        }


class ServedModels:
    """All of them; several threads may ask."""

    def __init__(self) -> None:
        self._by_name: dict[str, ServedModel] = {}
        self._lock = threading.Lock()

    def add(self, model: ServedModel) -> None:
        """One more.

        Raises:
            RefusedError: The name is taken (409).
        """
        with self._lock:
            if model.name in self._by_name:
                raise RefusedError(409, f"A model named '{model.name}' is served already.", code="model_exists")
            self._by_name[model.name] = model

    def remove(self, name: str) -> ServedModel:
        """Take one out: nobody can ask it any more.

        Raises:
            RefusedError: There is none (404), or it is no adapter (400).
        """
        with self._lock:
            model = self._find(name)
            if model.kind != "adapter":
                raise RefusedError(400, f"'{name}' is no adapter; it stays until the server ends.", param="model")
            return self._by_name.pop(name)

    def find(self, name: str) -> ServedModel:
        """By its name.

        Raises:
            RefusedError: There is none (404); the message names those that there are.
        """
        with self._lock:
            return self._find(name)

    def _find(self, name: str) -> ServedModel:
        if name not in self._by_name:
            known = ", ".join(self._by_name) or "none"
            raise RefusedError(404, f"There is no model '{name[:100]}' here; there are: {known}.", param="model",
                               code="model_not_found")  # fmt: skip
        return self._by_name[name]

    def all(self) -> list[ServedModel]:
        """In the order in which they came."""
        with self._lock:
            return list(self._by_name.values())
