"""The planner's formulas with other engines' profiles, held against memory figures that those engines published.

    python -m tests.unit.plan.vram_rows        prints the table of docs/design/memory_plan.md

A row counts as complete when its file says what decides memory: one card, a model whose shape is known, method, micro-batch,
length, and a number that was measured. The others are listed with the reason.
"""

from __future__ import annotations

import csv
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from luthier.plan.engine import LITGPT, TORCHTUNE, EngineProfile
from luthier.plan.job import Job, Optimizer
from luthier.plan.memory import inference_bytes, plan_memory
from luthier.plan.policy import CheckpointPolicy
from luthier.plan.shapes import Shape
from luthier.units import GIB

HERE = Path(__file__).parent
TABLE = HERE.parents[3] / "shared" / "data" / "vram" / "vram_tables.csv"

NAMES = {
    "phi-1.5 1.3 B": "phi-1.5", "StableLM Alpha 3 B": "stablelm-alpha-3b", "stablelm-base-alpha-3b": "stablelm-alpha-3b",
    "Llama 2 7 B": "llama-2-7b", "Llama 2 13 B": "llama-2-13b", "Llama 2 70 B": "llama-2-70b", "gemma2b": "gemma2-2b",
    "CodeLlama 34 B": "codellama-34b", "Falcon 40 B": "falcon-40b", "llama-3.1-8b": "llama-3-8b",
    "mistral-7b-v0.2": "mistral-7b", "Llama 3.1 8B": "torchtune-llama-3.1-8b", "Llama 3.2 3B": "torchtune-llama-3.2-3b",
}  # fmt: skip
QV, ALL = ("q_proj", "v_proj"), "all-linear"


class Compared(NamedTuple):
    """A complete row: what it is, measured and planned GB, as the file counts them."""

    words: str
    measured: float
    planned: float

    @property
    def error(self) -> float:
        return self.planned / self.measured - 1


class Left(NamedTuple):
    """A row that is not compared, and why."""

    words: str
    why: str


def shapes() -> dict[str, Shape]:
    rows = yaml.safe_load((HERE / "vram_models.yaml").read_text())
    return {name: Shape(**{"family": "llama", **values}) for name, values in rows.items()}


def read_rows() -> list[dict[str, str]]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["kind"] == "measured"]


def compare() -> tuple[list[Compared], list[Left]]:
    known = shapes()
    done, left = [], []
    for row in read_rows():
        words = " ".join(
            [row["source"].split()[0], row["model"], row["method"], row["quant"].replace("None", ""), row["micro_batch"],
             "×", row["seq_len"], row["notes"].partition("step: ")[2] or row["gpu"]]
        )  # fmt: skip
        words = " ".join(words.split())
        why = reason_to_leave(row)
        if why:
            left.append(Left(words, why))
            continue
        planned = plan_row(row, known[NAMES.get(row["model"], row["model"])])
        unit = 1e9 if row["unit"].startswith("GB") else GIB
        done.append(Compared(words, float(row["peak_gib"]), planned / unit))
    return done, left


def reason_to_leave(row: dict[str, str]) -> str:
    """Empty for a complete row."""
    try:
        measured = float(row["peak_gib"])
    except ValueError:
        return "no number (out of memory or not run)"
    if row["source"].startswith("peft"):
        return "micro-batch and length are not given"
    if row["method"] in ("adapter", "adapter_v2"):
        return "a method that Luthier does not plan (LLaMA-Adapter)"
    if row["gpus"] != "1":
        return "several cards: how weights were spread, and whether loading was the peak, is not given"
    if row["gpu"] in ("4090", "A6000"):
        return "memory flags are not given ('4090 rows use other memory flags')"
    if "Baseline" in row["notes"]:
        return "not packed: the lengths of its rows are not given"
    if row["method"] == "full" and row["source"].startswith("litgpt"):
        bf16_adamw = 8 * float(row["params_b"])
        if measured < bf16_adamw:
            return (
                f"impossible as labelled: weights, gradients and moments alone take {bf16_adamw:.1f} GB; it ran sharded"
            )
    return ""


def plan_row(row: dict[str, str], shape: Shape) -> float:
    if row["source"].startswith("torchtune"):
        return _torchtune(row, shape)
    quantised = row["quant"].startswith("bnb")
    engine = replace(LITGPT, double_quantised=row["quant"].endswith("dq"))
    if row["method"] == "inference":
        job = Job(shape, "qlora" if quantised else "lora", 1, 100, generation_rows=1, generation_tokens=100)
        return inference_bytes(job, engine)
    everything = "mlp" in row["lora_targets"]
    job = Job(
        shape,
        "full" if row["method"] == "full" else "qlora" if quantised else "lora",
        micro_batch_tokens=int(row["micro_batch"]) * int(row["seq_len"]),
        context=int(row["seq_len"]),
        num_micro_batches=2,
        rank=int(row["lora_r"] or 1),
        targets=ALL if everything else QV,
        adapts_head=everything,
        attention="eager" if shape.softcap else "fused",
    )
    return plan_memory(job, engine).total_bytes


TORCHTUNE_STEPS = (
    "Packed",
    "Compile",
    "Chunked",
    "Activation Checkpointing",
    "Fuse",
    "Offloading",
    "8-bit",
    "LoRA",
    "QLoRA",
)


def _torchtune(row: dict[str, str], shape: Shape) -> float:
    step = row["notes"].partition("step: ")[2].removeprefix("+ ")
    reached = next(i for i, name in enumerate(TORCHTUNE_STEPS) if step.startswith(name) or name in step)
    if row["method"] == "QLoRA":
        reached = len(TORCHTUNE_STEPS) - 1
    engine: EngineProfile = TORCHTUNE
    if reached >= 1:
        engine = replace(engine, fused_activation=("all",), norm_frozen=2, norm_trained=2, repeats_kv=False)
    if reached >= 2:
        engine = replace(engine, logit_bytes=2, logit_chunks=8, logit_chunk_bytes=8)
    policy = None
    if reached >= 3:
        policy = CheckpointPolicy.recompute_all(shape.num_layers)
    if reached >= 5:
        policy = CheckpointPolicy.mixed(shape.num_layers, {"offload": shape.num_layers})
    optimizer: Optimizer = "adamw-8bit" if reached >= 6 else "adamw"
    tokens = int(row["micro_batch"]) * int(row["seq_len"])
    method = {"Full": "full", "LoRA": "lora", "QLoRA": "qlora"}[row["method"]]
    job: dict[str, Any] = {"policy": policy, "optimizer": optimizer, "in_backward": 4 <= reached <= 6}
    return plan_memory(Job(shape, method, tokens, int(row["seq_len"]), rank=8, **job), engine).total_bytes


def summary(done: list[Compared]) -> tuple[float, float]:
    """Median and 90th percentile of absolute relative errors."""
    errors = sorted(abs(c.error) for c in done)
    return statistics.median(errors), statistics.quantiles(errors, n=10)[-1]


def main() -> None:
    done, left = compare()
    print("| engine, model, method, micro-batch × length | measured GB | planned GB | error |\n|---|---|---|---|")
    for row in done:
        print(f"| {row.words} | {row.measured:.2f} | {row.planned:.2f} | {100 * row.error:+.1f} % |")
    median, p90 = summary(done)
    print(
        f"\n{len(done)} complete rows: median absolute error {100 * median:.1f} %, 90th percentile {100 * p90:.1f} %.\n"
    )
    reasons = sorted({x.why.partition(":")[0] for x in left})
    for why in reasons:
        rows = [x for x in left if x.why.partition(":")[0] == why]
        print(f"- {len(rows)} × {rows[0].why}")


if __name__ == "__main__":
    main()
