"""Fixtures for all tests: a cache of their own, quiet libraries, and the real model where it has been fetched."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tiny models gain nothing from threads, and lose much where other work runs beside the tests. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Commands that tests start inherit signals that are ignored, as in a background shell or under nohup; tests send them.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

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


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder that only the tests of one module see."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("LUTHIER_CACHE")
    os.environ["LUTHIER_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["LUTHIER_CACHE"]
    else:
        os.environ["LUTHIER_CACHE"] = before
