"""One contestant of `cpu_sft.py` in a process of its own: reads the job (JSON on standard input), prints the result as JSON.

Every contestant gets the same token file, the same weights, the same adapter file and the same rows in each step.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

RATE, RANK, ALPHA, CLIP = 1e-4, 16, 32, 1.0


def resident_peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("VmHWM is only known on Linux")


def load_rows(path: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(ids, trained) per row."""
    arrays = np.load(path)
    ends = np.cumsum(arrays["lengths"])[:-1]
    return list(zip(np.split(arrays["ids"], ends), np.split(arrays["trained"], ends), strict=True))


def run_luthier(job: dict[str, Any]) -> dict[str, Any]:
    from luthier.accel.scorer import ScoringModel
    from luthier.data.example import Example, Segment
    from luthier.data.tokenize import TokenizedSet
    from luthier.models.adapters import load_adapter, trained_parameters
    from luthier.models.load import find_model, load_causal_lm
    from luthier.models.placement import Placement
    from luthier.objectives.sft import Sft
    from luthier.training.feed import Feed
    from luthier.training.loss_scale import LossScale
    from luthier.training.optim import MasterAdamW
    from luthier.training.ranks import Ranks
    from luthier.training.step import train_step

    before = resident_peak_bytes()
    placement = Placement(torch.device("cpu"), "bf16")
    model = load_adapter(
        load_causal_lm(find_model(job["model"]), torch.bfloat16, placement.device), Path(job["adapter"])
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    from luthier.accel.cpu_allocator import keep_freed_memory
    from luthier.workflows.assemble import BUDGET_TOKENS, apply_speedups

    keep_freed_memory()
    apply_speedups(model, job["config"].get("speedups", "auto"))
    examples = [
        Example(i, (Segment(ids, trained.astype(np.float32)),))
        for i, (ids, trained) in enumerate(load_rows(job["rows"]))
    ]
    feed = Feed(
        train=TokenizedSet.from_examples(examples),
        validation=TokenizedSet.from_examples([]),
        batch_size=job["batch_size"],
        budget_tokens=job["config"].get("micro_batch_tokens", BUDGET_TOKENS["cpu"]),
        seed=0,
        ranks=Ranks(),
        share_prefixes=job["config"].get("share_prefixes", True),
    )
    optimizer = MasterAdamW(
        trained_parameters(model), betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.0, max_grad_norm=CLIP
    )
    scoring = ScoringModel(model, "sdpa").train()
    seconds, losses, norms, tokens = [], [], [], []
    for step in range(job["steps"]):
        rows = range(step * job["batch_size"], (step + 1) * job["batch_size"])
        began = time.perf_counter()
        batches = feed._batches([feed.train[i] for i in rows])
        result = train_step(
            scoring,
            Sft(),
            batches,
            optimizer,
            learning_rate=RATE,
            loss_scale=LossScale.for_compute("bf16"),
            placement=placement,
            ranks=Ranks(),
        )
        seconds.append(time.perf_counter() - began)
        losses.append(result.loss)
        norms.append(result.grad_norm)
        tokens.append(result.num_tokens)
    return {
        "seconds": seconds,
        "losses": losses,
        "grad_norms": norms,
        "computed_tokens": tokens,
        "before_bytes": before,
    }


def run_trl(job: dict[str, Any]) -> dict[str, Any]:
    import datasets
    import trl
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    before = resident_peak_bytes()
    config = job["config"]
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, config["weights"]))
    model = PeftModel.from_pretrained(
        model, job["adapter"], is_trainable=True, autocast_adapter_dtype=config["adapters"] == "float32"
    )
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
    for ids, trained in load_rows(job["rows"]):
        columns["input_ids"].append(ids.tolist())
        columns["labels"].append(np.where(trained, ids, -100).tolist())

    class Clock(TrainerCallback):
        marks: list[float] = []  # noqa: RUF012 - one trainer per process

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.marks.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.marks.append(time.perf_counter())

    rows_at_once = config["rows_at_once"]
    arguments = trl.SFTConfig(
        output_dir=job["scratch"],
        per_device_train_batch_size=rows_at_once,
        gradient_accumulation_steps=job["batch_size"] // rows_at_once,
        max_steps=job["steps"],
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=CLIP,
        optim="adamw_torch_fused",
        logging_steps=1,
        bf16=config["autocast"],
        use_cpu=True,
        gradient_checkpointing=config["checkpointing"],
        padding_free=config.get("padding_free", False),
        max_length=None,
        train_sampling_strategy="sequential",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    clock = Clock()
    trainer = trl.SFTTrainer(
        model,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict(columns),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.train()
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    marks = clock.marks
    return {
        "seconds": [end - start for start, end in zip(marks[::2], marks[1::2], strict=True)],
        "losses": [entry["loss"] for entry in history],
        "grad_norms": [entry["grad_norm"] for entry in history],
        "before_bytes": before,
    }


def main() -> None:
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    if job["contestant"] == "trl":  # imports belong to the baseline of the memory measurement
        import datasets  # noqa: F401
        import trl  # noqa: F401
    else:
        import luthier.workflows.train  # noqa: F401
    result = (run_trl if job["contestant"] == "trl" else run_luthier)(job)
    result["peak_bytes"] = resident_peak_bytes()
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main()
