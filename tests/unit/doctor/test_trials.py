"""Trials run on this CPU; one that raises becomes a verdict, and a wrong result is seen."""

from __future__ import annotations

import pytest
import torch

from luthier.doctor import trials
from luthier.doctor.trials import NotHere, Trial, run_trial

CPU = torch.device("cpu")


@pytest.mark.parametrize("compute", ["fp32", "bf16", "fp16"])
def test_matmul(compute: str) -> None:
    assert "right to" in trials.matmul(CPU, compute)


def test_attention_and_a_lora_step() -> None:
    assert "route sdpa" in trials.attention(CPU)
    assert "loss" in trials.lora_step(CPU)


def test_wrong_attention_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = trials._softmax
    monkeypatch.setattr(trials, "_softmax", lambda q, k, v: right(q, k, v.flip(2)))
    item = run_trial(Trial("attention", lambda: trials.attention(CPU), "mend it"))
    assert (item.status, item.mend) == ("failed", "mend it")
    assert "wrong by" in item.found


def test_tokenizer_and_data(own_cache: object) -> None:
    assert "bytes" in trials.tokenizer()  # the cache is empty, so one is made
    assert trials.data_loading() == "100 rows, equal from jsonl and Parquet"


def test_what_raises_fails_and_what_does_not_apply_is_skipped() -> None:
    def broken() -> str:
        raise RuntimeError("first line\nsecond line")

    def absent() -> str:
        raise NotHere("no such card", "buy one")

    failed, skipped = run_trial(Trial("a", broken, "do this")), run_trial(Trial("b", absent, "never"))
    assert (failed.status, failed.found, failed.mend) == ("failed", "RuntimeError: first line", "do this")
    assert (skipped.status, skipped.found, skipped.mend) == ("skipped", "no such card", "buy one")


def test_two_ranks_are_left_out_on_one_device() -> None:
    with pytest.raises(NotHere, match="--ranks"):
        trials.two_ranks(CPU, wanted=False)


@pytest.mark.slow
def test_two_ranks() -> None:
    assert trials.two_ranks(CPU, wanted=True) == "gloo: 1 + 2 is 3 on both"


def test_an_absent_sink_is_skipped_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials.importlib.util, "find_spec", lambda _: None)
    item = run_trial(Trial("sink wandb", lambda: trials.sink_trial("wandb"), "x"))
    assert (item.status, item.mend) == ("skipped", "pip install 'luthier[wandb]'")
