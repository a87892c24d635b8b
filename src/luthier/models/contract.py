"""How a trained model is to be used: one object, saved with the run, for evaluation, chat, server and every export.

Template, system prompt, stop tokens and sampling belong together: change one at serving time and the model sees text that it
was not trained on, or does not stop where it learnt to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from luthier.data.template import ChatTemplate
from luthier.data.tokenizer_check import special_id, tokenizer_fingerprint
from luthier.errors import ModelError
from luthier.runs.atomic import write_json

FILE_NAME = "contract.json"
_VERSION = 1


@dataclass(frozen=True)
class InferenceContract:
    """All that has to be the same whenever the model is asked.

    Attributes:
        base_model: Name or folder of the model that was tuned.
        template: Jinja text, complete: a date that it asks for is fixed in it.
        template_kwargs: Variables that the template is rendered with.
        system_prompt: Put before conversations that have no system message; None puts nothing there.
        template_fingerprint: Of template, variables, system prompt and tokenizer together.
        tokenizer_fingerprint: Of the tokenizer alone.
        bos_token_id: None where the tokenizer has none. The template writes it, where the model wants it: never add it again.
        stop_token_ids: An answer ends with the first of these, in ascending order.
        stop_tokens: Their strings, in the same order.
        max_new_tokens: Longest answer.
        temperature: 0 takes the most probable token.
        top_p: Only the most probable tokens that together reach this share are drawn from.
    """

    base_model: str
    template: str
    system_prompt: str | None
    template_fingerprint: str
    tokenizer_fingerprint: str
    bos_token_id: int | None
    stop_token_ids: tuple[int, ...]
    stop_tokens: tuple[str, ...]
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0

    @classmethod
    def from_template(
        cls,
        chat_template: ChatTemplate,
        *,
        base_model: str,
        generation_eos_ids: Iterable[int] = (),
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> InferenceContract:
        """The contract of a model that was trained with `chat_template`.

        Args:
            chat_template: What the training data were rendered with.
            base_model: Name or folder of the base model.
            generation_eos_ids: ``eos_token_id`` of the model's generation config: it stops there too.
            max_new_tokens: Longest answer.
            temperature: Sampling default.
            top_p: Sampling default.
        """
        tokenizer = chat_template.tokenizer
        stop_ids = tuple(sorted(chat_template.end_of_turn_ids | {int(i) for i in generation_eos_ids}))
        return cls(
            base_model=base_model,
            template=chat_template.template,
            system_prompt=chat_template.default_system_prompt,
            template_fingerprint=chat_template.fingerprint,
            tokenizer_fingerprint=chat_template.tokenizer_fingerprint,
            bos_token_id=special_id(tokenizer, "bos_token"),
            stop_token_ids=stop_ids,
            stop_tokens=tuple(str(token) for token in tokenizer.convert_ids_to_tokens(list(stop_ids))),
            template_kwargs=chat_template.template_kwargs,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
        )

    def chat_template(self, tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
        """The template of the contract on a tokenizer.

        Raises:
            ModelError: It is another tokenizer than the model was trained with, or renders other tokens.
        """
        found = tokenizer_fingerprint(tokenizer)
        if found != self.tokenizer_fingerprint:
            raise ModelError(
                f"This tokenizer ({tokenizer.name_or_path or type(tokenizer).__name__}, fingerprint {found}) is not the one "
                f"that {self.base_model} was trained with (fingerprint {self.tokenizer_fingerprint}), so the model would see "
                "other tokens than it learnt. Use the tokenizer that is saved beside the trained weights."
            )
        template = ChatTemplate.from_tokenizer(
            tokenizer, template=self.template, system_prompt=self.system_prompt, template_kwargs=self.template_kwargs
        )
        if template.fingerprint != self.template_fingerprint:
            raise ModelError(
                f"The contract's template gives fingerprint {template.fingerprint}, but {self.template_fingerprint} is written "
                "beside it: the contract was edited after training. Restore contract.json from the run."
            )
        template.stop_ids = self.stop_ids
        return template

    @property
    def stop_ids(self) -> frozenset[int]:
        """`stop_token_ids` as generation takes them."""
        return frozenset(self.stop_token_ids)

    def to_json(self) -> dict[str, Any]:
        """The contract as it stands in ``contract.json``."""
        return {"version": _VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> InferenceContract:
        """Read what `to_json` wrote.

        Raises:
            ModelError: A field is missing or unknown, or the contract is of a later version.
        """
        if content.get("version") != _VERSION:
            raise ModelError(
                f"The inference contract has version {content.get('version')!r}; this Luthier reads version {_VERSION}. "
                "Use the Luthier that trained the model, or a later one."
            )
        given = {key: value for key, value in content.items() if key != "version"}
        known = {f.name for f in fields(cls)}
        if given.keys() != known:
            missing, unknown = sorted(known - given.keys()), sorted(given.keys() - known)
            raise ModelError(
                f"The inference contract is damaged: missing {missing}, unknown {unknown}. Restore it from the run."
            )
        lists = {name: tuple(given[name]) for name in ("stop_token_ids", "stop_tokens")}
        return cls(**{**given, **lists})

    def save(self, folder: Path) -> Path:
        """Write ``contract.json`` into a folder."""
        path = folder / FILE_NAME
        write_json(path, self.to_json())
        return path

    @classmethod
    def load(cls, folder: Path) -> InferenceContract:
        """Read ``contract.json`` from a folder.

        Raises:
            ModelError: There is none, or it cannot be read.
        """
        path = folder / FILE_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ModelError(
                f"{folder} has no {FILE_NAME}, so it is not known how its model is to be prompted. Give the folder of a run."
            ) from error
        except ValueError as error:
            raise ModelError(f"{path} is not JSON: {error}. Restore it from the run.") from error
        return cls.from_json(content)
