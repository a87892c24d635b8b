"""The table of export formats, and what was asked for in it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

from luthier.errors import InputError
from luthier.export.adapter_format import AdapterFormat
from luthier.export.bnb_format import BnbFormat
from luthier.export.format import Format
from luthier.export.gguf_adapter_format import GgufAdapterFormat
from luthier.export.gguf_format import GgufFormat
from luthier.export.merged_format import MergedFormat
from luthier.export.mlx_format import MlxFormat
from luthier.export.ollama_format import OllamaFormat

_BNB = (BnbFormat("nf4"), BnbFormat("int8"))
FORMATS: dict[str, Format] = {
    each.name: each
    for each in (AdapterFormat(), MergedFormat(), GgufFormat(), GgufAdapterFormat(), OllamaFormat(), MlxFormat(), *_BNB)
}


KEEPS_DTYPE = ("merged", *(each.name for each in _BNB))
"""Formats whose weights have the number format of the merge; the others have types of their own."""


class Target(NamedTuple):
    """A format with its type."""

    format: Format
    type: str


def parse_targets(formats: Sequence[str], types: Sequence[str]) -> list[Target]:
    """Every format that was named, in every type that it has of those that were named.

    Raises:
        InputError: A format or type is unknown, or a type fits none of the formats.
    """
    names = list(dict.fromkeys(name.strip().lower() for given in formats for name in given.split(",") if name.strip()))
    if not names:
        raise InputError(f"Say what to export to: --to {'|'.join(FORMATS)}")
    for name in names:
        if name not in FORMATS:
            near = difflib.get_close_matches(name, FORMATS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise InputError(f"There is no export format '{name}'.{hint} There are: {', '.join(FORMATS)}.")
    wanted = list(dict.fromkeys(kind.strip().lower() for given in types for kind in given.split(",") if kind.strip()))
    known = {kind for name in names for kind in FORMATS[name].types}
    for kind in wanted:
        if kind not in known:
            offers = "; ".join(f"{name}: {', '.join(FORMATS[name].types)}" for name in names)
            raise InputError(f"--type {kind} is none of {' and '.join(names)}. Types are: {offers}.")
    targets: list[Target] = []
    for name in names:
        chosen = [kind for kind in wanted if kind in FORMATS[name].types] or [FORMATS[name].default_type]
        targets += [Target(FORMATS[name], kind) for kind in chosen]
    return targets
