"""Planned against measured peak memory of our own training on a CPU: fresh processes, minus what they hold after their imports.

    python benchmarks/memory_plan.py [--json] [--threads N]

Each case trains SmolLM2-135M for three steps in a process of its own; the highest resident set counts (VmHWM, Linux only).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

MODEL = "smollm2-135m-instruct"
STEPS, LENGTH = 3, 256
CASES: tuple[dict[str, Any], ...] = (
    *({"kind": "lora", "tokens": tokens} for tokens in (512, 1024, 2048)),
    *({"kind": "full", "tokens": tokens} for tokens in (512, 1024, 2048)),
    {"kind": "lora", "tokens": 2048, "layers": {"input": 30}},
    {"kind": "full", "tokens": 1024, "layers": {"input": 30}},
    {"kind": "lora", "tokens": 1024, "compute": "fp32"},
    {"kind": "lora", "tokens": 1024, "micro_batches": 2},
    {"kind": "lora", "tokens": 3072},
    *({"kind": "qlora", "tokens": tokens} for tokens in (512, 1024, 2048)),
    *({"kind": "lora", "objective": "dpo", "tokens": tokens} for tokens in (512, 1024, 2048)),
    {"kind": "lora", "tokens": 2048, "layers": {"attention": 30}},
    {"kind": "lora", "tokens": 2048, "layers": {"input": 15, "attention": 15}},
)


def resident_peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("VmHWM is only known on Linux")


def instruction(row: int) -> Any:
    """A prompt and its answer, equally long."""
    from luthier.data.example import Example, Segment

    trained = (np.arange(LENGTH) >= LENGTH // 2).astype(np.float32)
    return Example(row, (Segment(random_ids(row, LENGTH), trained),))


def pair(row: int) -> Any:
    """A prompt and two answers, each half as long as the prompt."""
    from luthier.data.example import Example, Part, Segment

    prompt = Segment(random_ids(row, LENGTH // 2), np.zeros(LENGTH // 2, np.float32))
    learnt = np.ones(LENGTH // 4, np.float32)
    answers = (
        Segment(random_ids(row + 10**6 * part, LENGTH // 4), learnt, parent=0, part=part, reference=-500.0)
        for part in (Part.CHOSEN, Part.REJECTED)
    )
    return Example(row, (prompt, *answers))


def random_ids(seed: int, length: int) -> Any:
    return np.random.default_rng(seed).integers(3, 49000, length).astype(np.int32)


def train(case: dict[str, Any], threads: int) -> dict[str, float]:
    """Three steps in this process; planned and measured bytes."""
    import torch

    import luthier.workflows.train  # noqa: F401 - imports belong to the baseline
    from luthier.accel.checkpointing import keep
    from luthier.accel.cpu_allocator import keep_freed_memory
    from luthier.accel.scorer import ScoringModel
    from luthier.data.tokenize import TokenizedSet
    from luthier.models.adapters import add_lora, train_all, trained_parameters
    from luthier.models.load import find_model, load_causal_lm
    from luthier.models.placement import Placement
    from luthier.models.quantize import quantization
    from luthier.objectives.dpo import Dpo
    from luthier.objectives.reference import CachedReference
    from luthier.objectives.sft import Sft
    from luthier.plan.engine import ours_on
    from luthier.plan.job import Job
    from luthier.plan.locate import locate
    from luthier.plan.memory import plan_memory
    from luthier.plan.policy import CheckpointPolicy
    from luthier.training.feed import Feed
    from luthier.training.loss_scale import LossScale
    from luthier.training.optim import MasterAdamW
    from luthier.training.ranks import Ranks
    from luthier.training.step import train_step
    from luthier.workflows.assemble import apply_speedups

    torch.set_num_threads(threads)
    keep_freed_memory()  # as `workflows.assemble.build_model` does
    compute, tokens = case.get("compute", "bf16"), case["tokens"]
    before = resident_peak_bytes()
    placement = Placement(torch.device("cpu"), compute)
    stored = quantization(
        "nf4" if case["kind"] == "qlora" else "compute", placement.dtype, double=True, device=placement.device
    )
    model: Any = load_causal_lm(find_model(MODEL), placement.dtype, placement.device, stored)
    if case["kind"] != "full":
        model = add_lora(
            model, rank=16, alpha=32, dropout=0.0, target_modules="all-linear", dtype=placement.dtype, seed=0
        )
    else:
        model = train_all(model, placement.dtype)
    apply_speedups(model, "auto")
    shape = locate(MODEL).shape
    policy = CheckpointPolicy.mixed(shape.num_layers, case.get("layers", {}))
    keep(model, policy)
    is_dpo = case.get("objective") == "dpo"
    num_rows = case.get("micro_batches", 1) * tokens // LENGTH
    rows = [(pair if is_dpo else instruction)(i) for i in range(num_rows)]
    feed = Feed(
        train=TokenizedSet.from_examples(rows), validation=TokenizedSet.from_examples([]), batch_size=num_rows,
        budget_tokens=tokens, seed=0, ranks=Ranks(),
    )  # fmt: skip
    optimizer = MasterAdamW(
        trained_parameters(model), betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.0, max_grad_norm=1.0
    )
    scoring = ScoringModel(model, "sdpa").train()
    objective = Dpo(CachedReference()) if is_dpo else Sft()
    for step in range(STEPS):
        train_step(
            scoring, objective, feed.step_batches(step), optimizer, learning_rate=1e-5,
            loss_scale=LossScale.for_compute(placement.compute), placement=placement, ranks=Ranks(),
        )  # fmt: skip
    measured = resident_peak_bytes() - before
    job = Job(
        shape, case["kind"], tokens, LENGTH, num_micro_batches=case.get("micro_batches", 1), supervised_share=0.5,
        compute=compute, policy=policy, objective=case.get("objective", "sft"),
    )  # fmt: skip
    return {"planned": plan_memory(job, ours_on("cpu")).total_bytes, "measured": measured}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose words contain this")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print("RESULT " + json.dumps(train(json.loads(options.case), options.threads)))
        return 0
    rows: list[dict[str, Any]] = []
    for case in CASES:
        words = " ".join(f"{key}={value}" for key, value in case.items())
        if options.only not in words:
            continue
        command = [sys.executable, __file__, "--threads", str(options.threads), "--case", json.dumps(case)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not lines:
            raise SystemExit(f"{case} failed:\n{done.stderr[-2000:]}")
        row = {**case, **json.loads(lines[-1].removeprefix("RESULT "))}
        row["error"] = row["planned"] / row["measured"] - 1
        rows.append(row)
        print(
            f"{words:<48} planned {row['planned'] / 1e6:6,.0f} MB, measured {row['measured'] / 1e6:6,.0f} MB "
            f"({100 * row['error']:+.1f} %)", file=sys.stderr,
        )  # fmt: skip
    if options.json:
        print(json.dumps({"benchmark": "memory_plan", "rows": rows}))
    return 0 if all(abs(row["error"]) <= 0.1 for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
