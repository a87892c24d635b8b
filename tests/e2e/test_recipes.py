"""The recipes of this repository are short, and each trains for a few steps on a tiny model with all checks passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.config.load import load_recipe
from luthier.workflows.train import train
from tests.tiny import save_tiny_model, write_chat_rows

pytestmark = pytest.mark.usefixtures("own_cache")
RECIPES = Path(__file__).resolve().parents[2] / "recipes"
MOST_LINES = 30


@pytest.mark.parametrize("name", ["sft_lora", "sft_full", "sft_qlora", "sft_dora"])
def test_it_trains(name: str, tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model", hidden_size=64, intermediate_size=128)
    rows = write_chat_rows(tmp_path / "rows.jsonl", 24)
    path = RECIPES / f"{name}.yaml"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    overrides = [
        f"model.name={tmp_path / 'model'}", f"data.train={rows}", f"run.folder={tmp_path / 'runs'}",
        "train.max_steps=3", "train.batch_size=8", "train.learning_rate=1e-2", "train.device=cpu",
        "evaluate.stop_test_rows=0", "evaluate.sample_prompts=0", "precision.compute=fp32",
    ]  # fmt: skip
    result = train(load_recipe(path, overrides))
    assert [check.name for check in result.checks if not check.passed] == []
    assert result.verdict == "verified"
