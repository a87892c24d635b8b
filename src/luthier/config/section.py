"""What all recipe sections have in common: frozen, unknown keys refused, every field documented beside itself."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a recipe. Values are coerced as YAML users expect (``2e-4`` is a number), keys are not."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)
