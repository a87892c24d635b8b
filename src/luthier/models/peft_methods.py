"""PEFT's methods by name: which there are, which can be trained here, and whether a config's fields are its own.

Held against PEFT's own classes, so that a new method of PEFT's needs nothing here.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.errors import InputError

REFUSED: Mapping[str, str] = {
    "adalora": "its ranks are re-distributed by the training loop of its authors",
    "adaption_prompt": "it puts prompts into the attention layers, which packed documents do not go through",
    "arrow": "it routes between adapters",
    "cartridge": "its trained keys and values would have to be shared by packed documents",
    "multitask_prompt_tuning": "virtual tokens are not packed",
    "poly": "it needs a task number with each row",
    "pvera": "it draws random numbers in each forward pass",
    "shadow": "it changes what the model's layers return",
    "xlora": "it needs a second forward pass and several trained adapters",
}
_NAME = re.compile(r"(?!(all-linear|attention|mlp)$)[\w.]+")
OWN_KINDS: Mapping[str, str] = {"lora": "adapter: {kind: lora}"}


def _configs() -> dict[str, type[Any]]:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {kind.value.lower(): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}


def method_names() -> list[str]:
    """Methods that can be trained here."""
    return sorted(n for n, c in _configs().items() if n not in REFUSED and n not in OWN_KINDS and not _is_prompt(c))


def _is_prompt(config: type[Any]) -> bool:
    from peft import PromptLearningConfig

    return issubclass(config, PromptLearningConfig)


def check_peft(method: str, fields: Mapping[str, Any], target_modules: Sequence[str] | str | None = None) -> None:
    """Hold a method and its fields against PEFT, before any model is read.

    Args:
        method: Its name in PEFT.
        fields: Of its config.
        target_modules: As in the recipe; words and patterns are not resolved yet, so of those only the model can tell.

    Raises:
        InputError: No such method, one that cannot be trained here, an unknown field, or a value that the method refuses.
    """
    name = method.lower()
    configs = _configs()
    if name in OWN_KINDS:
        raise InputError(f"adapter.method: {method} has its own section: {OWN_KINDS[name]}, with all its fields.")
    if name not in configs:
        near = difflib.get_close_matches(name, configs, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(f"adapter.method: PEFT has no method '{method}'.{hint} It has: {', '.join(method_names())}.")
    if name in REFUSED or _is_prompt(configs[name]):
        reason = REFUSED.get(name, "it puts virtual tokens before each row, which packed documents do not have")
        raise InputError(
            f"adapter.method: {method} cannot be trained here: {reason}. What can be: {', '.join(method_names())}."
        )
    known = _own_fields(configs[name])
    for field in fields:
        if field in ("task_type", "peft_type", "inference_mode"):
            raise InputError(f"adapter.fields.{field}: this is not a choice here; leave it out.")
        if field == "target_modules":
            raise InputError("adapter.fields.target_modules: write adapter.target_modules instead.")
        if field not in known:
            near = difflib.get_close_matches(field, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise InputError(
                f"adapter.fields.{field}: PEFT's {configs[name].__name__} has no such field.{hint} "
                f"Its fields: {', '.join(known)}."
            )
    needed = {"target_modules": _stand_ins(target_modules, fields)} if "target_modules" in known else {}
    peft_config(method, {**needed, **fields})


def _stand_ins(target_modules: Sequence[str] | str | None, fields: Mapping[str, Any]) -> list[str]:
    """Module names that a config can be tried with: the recipe's, where they are names, and else those of the other fields."""
    if target_modules is not None and not isinstance(target_modules, str) and all(map(_NAME.fullmatch, target_modules)):
        return list(target_modules)
    lists = [value for value in fields.values() if isinstance(value, list)]
    return [*(item for value in lists for item in value if isinstance(item, str)), "q_proj"]


def takes_target_modules(method: str) -> bool:
    """Whether the method is told which modules it adapts."""
    return "target_modules" in _own_fields(_configs()[method.lower()])


def _own_fields(config: type[Any]) -> list[str]:
    general = {"task_type", "peft_type", "inference_mode", "auto_mapping", "peft_version", "base_model_name_or_path"}
    return sorted(name for name in inspect.signature(config).parameters if name not in general | {"revision"})


def peft_config(method: str, fields: Mapping[str, Any]) -> Any:
    """The config object.

    Raises:
        InputError: The method's own checks refuse a value.
    """
    config = _configs()[method.lower()]
    try:
        return config(task_type="CAUSAL_LM", **fields)
    except (TypeError, ValueError) as error:
        raise InputError(f"adapter.fields: PEFT's {config.__name__} refuses them: {error}") from error
