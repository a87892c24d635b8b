"""The embedded SmolLM2-135M: packed and shared rows equal plain transformers, and a short training makes it better."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from luthier.config.load import load_recipe
from luthier.demo.shop import training_rows
from luthier.workflows.load_run import load_run
from luthier.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.real_model]


def test_a_short_training_is_verified_and_answers(real_model_folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe(
        {
            "model": {"name": "smollm2-135m-instruct"},
            "data": {"train": "demo:shop-sql", "limit": 120},
            "run": {"name": "short", "folder": str(tmp_path)},
            "train": {"max_steps": 16, "batch_size": 8, "learning_rate": 1e-3, "num_threads": torch.get_num_threads()},
            "evaluate": {"stop_test_rows": 6, "max_new_tokens": 64},
        }
    )
    result = train(recipe)
    failed = [c.name for c in result.checks if not c.passed]
    assert failed == []
    assert result.verdict == "verified"
    assert result.validation_loss is not None
    assert result.validation_loss < 0.5  # 1.7 before training

    run = load_run(result.run)
    row = next(iter(training_rows()))
    messages = row["messages"]
    assert messages[0]["role"] == "system"
    question = f"{messages[0]['content']}\n{messages[1]['content']}"
    assert "SELECT" in run.ask(question, max_new_tokens=64)
    report = result.report.read_text()
    assert "de-quantised" in report
    assert "generated" in report


def test_scores_equal_plain_transformers_in_fp32(real_model_folder: Path) -> None:
    from luthier.accel.attention import plain_attention
    from luthier.accel.scorer import ScoringModel
    from luthier.data.collate import collate
    from luthier.data.prefix import plan_sharing
    from luthier.data.template import ChatTemplate
    from luthier.data.tokenize import TokenizedSet
    from luthier.models.load import find_model, load_causal_lm, load_tokenizer
    from luthier.objectives.base import Want
    from luthier.types import Conversation, Message
    from tests.tiny import plain_sums

    source = find_model("smollm2-135m-instruct")
    template = ChatTemplate.from_tokenizer(load_tokenizer(source))
    model = load_causal_lm(source, torch.float32, torch.device("cpu"))
    conversations = [Conversation(tuple(Message(**m) for m in row["messages"])) for row in list(training_rows())[:6]]
    rows = list(TokenizedSet.from_examples(_examples(template, conversations)))
    batch = collate(plan_sharing(rows, 4096))
    assert batch.num_row_tokens > 2 * batch.num_tokens
    with torch.no_grad():
        scores = ScoringModel(model, "sdpa")(batch, Want()).logprob_S
        ours = -float((scores * batch.targets.weights_S).sum())
        with plain_attention(model):
            plain, _ = plain_sums(model, rows)
    assert ours == pytest.approx(float(plain), rel=1e-5)


def _examples(template: object, conversations: list) -> list:
    from luthier.data.example import Example, Segment

    rendered = [template.encode(c) for c in conversations]
    return [Example(i, (Segment(r.ids, r.trained.astype("float32")),)) for i, r in enumerate(rendered)]
