"""What travels with weights so that they are used as they were trained: tokenizer, template, generation config, contract.

Other programs do not know Luthier's contract, so what it says is written where they look: the system prompt and the
template's variables into the template, the stop tokens and the sampling into the generation config.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import GenerationConfig

from luthier.models.contract import InferenceContract


def self_contained_template(contract: InferenceContract, *, folds_system: bool = False) -> str:
    """The template with the contract's system prompt and variables in it: it needs nothing beside the messages.

    Args:
        contract: Of the run.
        folds_system: The template has no place for a system message, so the prompt stands before the first user message.
    """
    head = ""
    for name, value in sorted(contract.template_kwargs.items()):
        literal = _jinja_literal(value)
        head += f"{{%- if {name} is not defined -%}}{{%- set {name} = {literal} -%}}{{%- endif -%}}"
    if contract.system_prompt is not None:
        prompt = _jinja_literal(contract.system_prompt)
        first = f"{{'role': 'system', 'content': {prompt}}}"
        rest = "messages"
        if folds_system:
            prompt = _jinja_literal(f"{contract.system_prompt}\n\n")
            first, rest = f"{{'role': 'user', 'content': {prompt} + messages[0]['content']}}", "messages[1:]"
        head += (
            "{%- if messages | selectattr('role', 'equalto', 'system') | list | length == 0 -%}"
            f"{{%- set messages = [{first}] + {rest} -%}}{{%- endif -%}}"
        )
    return head + contract.template


def _jinja_literal(value: Any) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
        return f"'{escaped}'"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return json.dumps(value)


def generation_config(contract: InferenceContract) -> GenerationConfig:
    """Where answers end, and how they are drawn."""
    sampling: dict[str, Any] = {"do_sample": False}
    if contract.temperature > 0:
        sampling = {"do_sample": True, "temperature": contract.temperature, "top_p": contract.top_p}
    stop_ids = list(contract.stop_token_ids)
    return GenerationConfig(
        bos_token_id=contract.bos_token_id,
        eos_token_id=stop_ids[0] if len(stop_ids) == 1 else stop_ids,
        pad_token_id=stop_ids[0] if stop_ids else None,
        max_new_tokens=contract.max_new_tokens,
        **sampling,
    )


def write_tokenizer(tokenizer: Any, contract: InferenceContract, folder: Path) -> None:
    """Tokenizer and template; the tokenizer of the caller stays as it is."""
    before = tokenizer.chat_template
    tokenizer.chat_template = full_template(tokenizer, contract)
    try:
        tokenizer.save_pretrained(str(folder))
    finally:
        tokenizer.chat_template = before


def full_template(tokenizer: Any, contract: InferenceContract) -> str:
    """`self_contained_template`, the system prompt placed where this template has a place for it."""
    return self_contained_template(contract, folds_system=_folds_system(tokenizer, contract.template))


def _folds_system(tokenizer: Any, template: str) -> bool:
    """Whether the template refuses a system message, or shows it in front of some answers only."""
    system, user = {"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hello"}
    turns = [system, user, {"role": "assistant", "content": "Hi"}]
    try:
        shown = [tokenizer.apply_chat_template(turns[:n], chat_template=template, tokenize=False) for n in (2, 3)]
    except TemplateError:
        return True
    return any("Be brief" not in text for text in shown)


def write_companions(tokenizer: Any, contract: InferenceContract, config: Any, folder: Path) -> None:
    """All that a model folder in Hugging Face layout has beside weights, and the contract."""
    config.save_pretrained(folder)
    generation_config(contract).save_pretrained(folder)
    write_tokenizer(tokenizer, contract, folder)
    contract.save(folder)


def stop_ids_of(folder: Path) -> tuple[int, ...]:
    """Where a program that reads generation_config.json ends an answer, ascending."""
    found = GenerationConfig.from_pretrained(folder).eos_token_id
    ids = found if isinstance(found, list) else [] if found is None else [found]
    return tuple(sorted(int(i) for i in ids))
