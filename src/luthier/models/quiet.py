"""Keeps libraries from drawing their own progress bars and notices over ours while models are read or written."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Inside, transformers shows no bars, and PEFT's use of names that transformers 5 renames is not our user's concern."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")
            yield
    finally:
        if shown:
            logging.enable_progress_bar()
