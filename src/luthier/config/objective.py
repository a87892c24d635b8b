"""What is optimised. One class per objective, told apart by `name`; a new objective adds a class to the union."""

from __future__ import annotations

from typing import Literal

from luthier.config.section import Section


class SftSection(Section):
    """Supervised fine-tuning: negative log-likelihood of the trained tokens."""

    name: Literal["sft"] = "sft"
    """sft: learn to give the answers of the data."""


ObjectiveSection = SftSection
