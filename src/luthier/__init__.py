"""Luthier fine-tunes large language models and proves that it worked.

The names below load what they need on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# bitsandbytes logs a missing kernel of the hub whenever PEFT is imported, and a cast of its own design at each int8 product.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

if TYPE_CHECKING:
    from luthier.config.load import load_recipe
    from luthier.workflows.evaluate import evaluate
    from luthier.workflows.load_run import load_run
    from luthier.workflows.train import train

_HOME = {
    "load_recipe": "luthier.config.load",
    "evaluate": "luthier.workflows.evaluate",
    "load_run": "luthier.workflows.load_run",
    "train": "luthier.workflows.train",
}

__all__ = ["__version__", "evaluate", "load_recipe", "load_run", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'luthier' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
