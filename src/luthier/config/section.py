"""What all recipe sections have in common: frozen, unknown keys refused, every field documented beside itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """A part of a recipe. Values are coerced as YAML users expect (``2e-4`` is a number), keys are not."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _true_is_not_a_number(cls, data: object) -> object:
        """Python counts True as 1, but ``epochs: true`` is a mistake: make it a word, which no number field takes."""
        if not isinstance(data, Mapping):
            return data
        values = cast("Mapping[str, Any]", data)
        return {k: str(v).lower() if isinstance(v, bool) and cls._is_number(k) else v for k, v in values.items()}

    @classmethod
    def _is_number(cls, key: str) -> bool:
        field = cls.model_fields.get(key)
        kinds: set[Any] = {field.annotation, *get_args(field.annotation)} if field else set()
        return not kinds.isdisjoint({int, float})
