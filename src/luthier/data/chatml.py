"""ChatML for a base model that has no chat template, with markers that are single tokens of its tokenizer.

    <|im_start|>user
    Hello<|im_end|>
    <|im_start|>assistant
    Hi<|im_end|>

The markers are, in this order of preference: ``<|im_start|>`` and ``<|im_end|>`` themselves where the tokenizer knows them;
tokens that its makers reserved (Llama's ``<|reserved_special_token_0|>``, Gemma's ``<unused0>``), whose strings the template then
writes; new tokens. Embeddings of reserved and new tokens mean nothing yet, so their rows must be trained: `trainable_ids`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from luthier.data.tokenizer_check import token_id
from luthier.errors import ModelError

START, END = "<|im_start|>", "<|im_end|>"

_RESERVED = re.compile(
    r"<\|reserved_special_token_\d+\|>|<\|reserved_\d+\|>|<reserved_?\d+>|<unused_?\d+>|\[unused\d+\]|<\|extra_\d+\|>|<extra_\d+>"
    r"|\[control_\d+\]|<SPECIAL_\d+>|<\|dummy_\d+\|>|<\|placeholder\d*\|>|<｜place▁holder▁no▁\d+｜>|<\|unused\d+\|>|<\|extratoken_\d+\|>"
)


@dataclass(frozen=True)
class ChatmlSetup:
    """How ChatML is written with one tokenizer.

    Attributes:
        template: Jinja text.
        start_token: Opens a message.
        end_token: Ends a message.
        start_id: Its id.
        end_id: Its id.
        new_tokens: Tokens that were added to the tokenizer: the model's embeddings must grow.
        trainable_ids: Tokens whose embedding rows mean nothing yet and must be trained with whatever else is trained.
        why: How the markers were chosen, for people.
    """

    template: str
    start_token: str
    end_token: str
    start_id: int
    end_id: int
    new_tokens: tuple[str, ...]
    trainable_ids: tuple[int, ...]
    why: str


def set_up_chatml(tokenizer: PreTrainedTokenizerBase) -> ChatmlSetup:
    """Choose the markers; tokens that are missing are added to `tokenizer`.

    Raises:
        ModelError: A marker does not become a single token inside text.
    """
    reserved = iter([name for name in _reserved_tokens(tokenizer) if _is_single_token(tokenizer, name)])
    tokens: list[str] = []
    kinds: list[str] = []
    for marker in (START, END):
        if _is_single_token(tokenizer, marker):
            tokens.append(marker)
            kinds.append("known")
        elif (spare := next(reserved, None)) is not None:
            tokens.append(spare)
            kinds.append("reserved")
        else:
            tokens.append(marker)
            kinds.append("new")
    new = tuple(token for token, kind in zip(tokens, kinds, strict=True) if kind == "new")
    if new:
        tokenizer.add_tokens(list(new), special_tokens=True)
    ids = [token_id(tokenizer, token) for token in tokens]
    for token in tokens:
        if not _is_single_token(tokenizer, token):
            raise ModelError(
                f"The ChatML marker {token!r} does not stay one token in this tokenizer; give a jinja file instead."
            )
    words = {"known": "the tokenizer's own", "reserved": "a reserved token, trained", "new": "a new token, trained"}
    why = ", ".join(f"{token}: {words[kind]}" for token, kind in zip(tokens, kinds, strict=True))
    return ChatmlSetup(
        template=chatml_template(tokens[0], tokens[1], with_bos=wants_bos(tokenizer)),
        start_token=tokens[0],
        end_token=tokens[1],
        start_id=ids[0],
        end_id=ids[1],
        new_tokens=new,
        trainable_ids=tuple(i for i, kind in zip(ids, kinds, strict=True) if kind != "known"),
        why=why,
    )


def chatml_template(start: str, end: str, *, with_bos: bool) -> str:
    """ChatML with tools and thinking as Qwen's family writes them; nothing is dropped from earlier turns."""
    bos = "{{- bos_token }}\n" if with_bos else ""
    return bos + _TEMPLATE.replace("START", start).replace("END", end)


def wants_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether text for this model begins with BOS: its tokenizer puts one there of its own accord."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and len(ids) > 0 and ids[0] == tokenizer.bos_token_id


def _reserved_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Tokens kept free by the tokenizer's makers, in the order of their ids, without those that have a role."""
    roles = {t for t in tokenizer.special_tokens_map.values() if isinstance(t, str)}
    names = [token.content for _, token in sorted(tokenizer.added_tokens_decoder.items())]
    return [name for name in names if name not in roles and _RESERVED.fullmatch(name)]


def _is_single_token(tokenizer: PreTrainedTokenizerBase, token: str) -> bool:
    """Whether `token` is one id in the middle of text."""
    found = tokenizer.convert_tokens_to_ids(token)
    if found is None or tokenizer.convert_ids_to_tokens(found) != token:
        return False
    return tokenizer(f"a{token}\nb", add_special_tokens=False)["input_ids"].count(found) == 1


_TEMPLATE = r"""
{%- if tools %}
    {{- 'STARTsystem\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\n\n' }}
    {%- endif %}
    {{- 'You can call these functions:\n<tools>' }}
    {%- for tool in tools %}
        {{- '\n' + (tool | tojson) }}
    {%- endfor %}
    {{- '\n</tools>\nTo call one, answer with its name and arguments:\n' }}
    {{- '<tool_call>\n{"name": "...", "arguments": {...}}\n</tool_call>END\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if not (tools and loop.first and message.role == 'system') %}
        {{- 'START' + message.role + '\n' }}
        {%- if message.reasoning_content %}
            {{- '<think>\n' + message.reasoning_content + '\n</think>\n\n' }}
        {%- endif %}
        {{- message.content }}
        {%- for call in message.tool_calls or [] %}
            {%- if message.content or not loop.first %}
                {{- '\n' }}
            {%- endif %}
            {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- (call.function.arguments if call.function.arguments is string else call.function.arguments | tojson) }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- 'END\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- 'STARTassistant\n' }}
{%- endif %}
""".strip("\n")
