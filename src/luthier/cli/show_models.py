"""How the catalogue of models looks on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from luthier.cli.views import show_next, table_of
from luthier.units import GIB, format_count

if TYPE_CHECKING:
    from luthier.workflows.list_models import ListedModel


def show_models(console: Console, models: Sequence[ListedModel], memory: str | None) -> None:
    """A table; memory in GiB with 2,048 tokens at once and every layer computed twice."""
    from luthier.workflows.list_models import TOKENS, memory_limit

    if not models:
        console.print("No model is like that.")
        show_next(console, ("luthier models list", "all of them"))
        return
    limit = memory_limit(memory) if memory is not None else None
    table = table_of("name", "licence", "size", "context", "QLoRA", "LoRA", "full")
    table.columns[0].no_wrap = True
    for model in models:
        ready = ("● ", "green") if model.path is not None else ("  ", "")
        table.add_row(
            Text.assemble(ready, model.row.name),
            Text(model.row.licence.removesuffix(" licence"), "dim"),
            format_count(model.num_parameters),
            f"{model.row.context // 1024}k",
            *(_memory(model.memory_bytes[method], limit) for method in ("qlora", "lora", "full")),
        )
    console.print(table)
    console.print(
        f"GiB on a card with {TOKENS:,} tokens at once and checkpointing, by the planner. ● ready on this machine.",
        style="dim",
    )
    first = next((model for model in models if model.path is None), models[0]).row.name
    show_next(
        console,
        (f"luthier plan --model {first}", "its memory by term, on this machine"),
        (f"luthier models fetch {first}", "download it"),
    )


def _memory(num_bytes: float, limit: float | None) -> Text:
    style = "" if limit is None else "green" if num_bytes <= limit else "dim"
    gib = num_bytes / GIB
    return Text(f"{gib:.1f}" if gib < 100 else f"{gib:,.0f}", style)


def show_fetched(console: Console, name: str, path: Path) -> None:
    """Where it is, and what it can be used for."""
    console.print(f"{name} is ready in {path}", soft_wrap=True)
    show_next(console, (f"luthier train recipes/sft_lora.yaml model.name={name}", "fine-tune it"))
