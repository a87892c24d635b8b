"""Fixtures for all tests: a cache of their own, quiet libraries, and the real model where it has been fetched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """Real data for development; absent on most machines."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the development data are not beside the repository")
    return SHARED_DATA


@pytest.fixture(scope="session")
def real_model_folder() -> Path:
    """SmolLM2-135M-Instruct, converted into the user's cache by `make setup`."""
    from luthier.models.builtin import cached

    folder = cached().get("smollm2-135m-instruct")
    if folder is None:
        pytest.skip("the embedded model is not in the cache; run: luthier models fetch smollm2-135m-instruct")
    return folder
