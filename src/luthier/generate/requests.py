"""Messages to a generation request, by the contract of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.data.template import ChatTemplate
from luthier.generate.protocol import Request
from luthier.models.contract import InferenceContract
from luthier.types import Message


def build_request(
    contract: InferenceContract,
    chat_template: ChatTemplate,
    messages: Sequence[Message],
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int = 0,
    use_adapter: bool = True,
) -> Request:
    """The request for an answer to the last of `messages`; what is not given is as the contract says.

    Args:
        contract: How the model is used.
        chat_template: ``contract.chat_template(tokenizer)``, made once.
        messages: The conversation so far.
        tools: Function schemas that the model may call.
        max_new_tokens: Longest answer.
        temperature: 0 takes the most probable token.
        top_p: Only the most probable tokens that together reach this share are drawn from.
        seed: Makes a drawn answer repeat.
        use_adapter: False asks the base model.

    Raises:
        DataError: The template refuses the messages.
    """
    return Request(
        prompt_ids=tuple(chat_template.prompt_ids(messages, tools)),
        max_new_tokens=contract.max_new_tokens if max_new_tokens is None else max_new_tokens,
        stop_ids=contract.stop_ids,
        temperature=contract.temperature if temperature is None else temperature,
        top_p=contract.top_p if top_p is None else top_p,
        seed=seed,
        use_adapter=use_adapter,
    )
