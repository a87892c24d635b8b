"""Which model is tuned, and how its attention is computed."""

from __future__ import annotations

from typing import Literal

from luthier.config.section import Section

AttentionChoice = Literal["auto", "varlen", "sdpa", "flash_attention_2", "flash_attention_3", "eager"]


class ModelSection(Section):
    """The base model."""

    name: str
    """A name that `luthier models list` knows, a folder in Hugging Face layout (beside the recipe or in the current folder), or a
    hub id."""

    revision: str | None = None
    """Commit, tag or branch of a hub model; None takes the newest."""

    attention: AttentionChoice = "auto"
    """How attention runs over packed documents. auto: varlen on CUDA cards from sm80 on, else sdpa per document."""

    chat_template: str = "auto"
    """auto: the tokenizer's own, and ChatML where it has none; chatml: force ChatML; or the path of a jinja file."""
