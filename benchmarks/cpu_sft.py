"""LoRA SFT on a CPU: Luthier against TRL on the same rows, weights, adapter, batch and supervised tokens, in one run.

    python benchmarks/cpu_sft.py [--quick] [--json] [--save]

TRL runs as it ships and tuned by the search written in `TRL_SEARCH`; the ratio is to the fastest of all. The correctness
gate comes first: the loss of every step within 0.5 % of TRL's in the same number format, and loss and gradient norm of the
first step, where the weights are still the same, within 0.5 % and 1 % of TRL in fp32. Then tokens per second
(median of the steps after the first), peak memory (of a fresh process, minus the same process after its imports) and the
ratio to a replay of nothing but the step's matrix products. Tokens are those of the rows; the padding of one side and the
shared prefixes of the other count for neither.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import identity

HERE = Path(__file__).parent
MODEL = "smollm2-135m-instruct"
BATCH_SIZE = 16

HEAP_KEPT = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(64 * 1024**2),
}
"""What Luthier tells glibc by itself; anyone can tell it through the environment."""

TRL_SEARCH: dict[str, dict[str, Any]] = {
    # As shipped: a model given by name is loaded in fp32, autocast to bf16, checkpointing on, 8 rows at once.
    "as shipped": {"weights": "float32", "adapters": "float32", "autocast": True, "checkpointing": True, "rows_at_once": 8},
    "bf16 weights": {"weights": "bfloat16", "adapters": "float32", "autocast": True, "checkpointing": True, "rows_at_once": 8},
    "bf16, no checkpointing": {
        "weights": "bfloat16", "adapters": "float32", "autocast": True, "checkpointing": False, "rows_at_once": 8,
    },
    "all bf16, no checkpointing, 4 rows": {
        "weights": "bfloat16", "adapters": "bfloat16", "autocast": False, "checkpointing": False, "rows_at_once": 4,
    },
    "all bf16, no checkpointing, 2 rows": {
        "weights": "bfloat16", "adapters": "bfloat16", "autocast": False, "checkpointing": False, "rows_at_once": 2,
    },
    "all bf16, no checkpointing, padding-free, 8 rows": {
        "weights": "bfloat16", "adapters": "bfloat16", "autocast": False, "checkpointing": False, "rows_at_once": 8,
        "padding_free": True,
    },
    "all bf16, no checkpointing, padding-free, 8 rows, heap kept": {
        "weights": "bfloat16", "adapters": "bfloat16", "autocast": False, "checkpointing": False, "rows_at_once": 8,
        "padding_free": True, "environment": HEAP_KEPT,
    },
}  # fmt: skip
REFERENCE = {"weights": "float32", "adapters": "float32", "autocast": False, "checkpointing": False, "rows_at_once": 4}
SAME_FORMAT = "all bf16, no checkpointing, 4 rows"
QUICK = (
    SAME_FORMAT,
    "all bf16, no checkpointing, padding-free, 8 rows",
    "all bf16, no checkpointing, padding-free, 8 rows, heap kept",
)


def prepare(place: Path, num_rows: int) -> dict[str, Any]:
    """Token file and adapter file that every contestant reads."""
    from chat_rows import chat_rows

    from luthier.data.template import ChatTemplate
    from luthier.models.adapters import add_lora
    from luthier.models.load import find_model, load_causal_lm, load_tokenizer
    from luthier.types import Conversation, Message

    source = find_model(MODEL)
    template = ChatTemplate.from_tokenizer(load_tokenizer(source))
    ids, trained = [], []
    for row in chat_rows(num_rows):
        rendered = template.encode(Conversation(tuple(Message(**m) for m in row["messages"])))
        ids.append(rendered.ids)
        trained.append(rendered.trained)
    lengths = np.array([len(i) for i in ids])
    np.savez(place / "rows.npz", ids=np.concatenate(ids), trained=np.concatenate(trained), lengths=lengths)
    model = load_causal_lm(source, torch.float32, torch.device("cpu"))
    adapted = add_lora(model, rank=16, alpha=32, dropout=0.0, target_modules="all-linear", dtype=torch.float32, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # not zero, else the gradients of A would be, and comparing them would prove nothing
            parameter.data.normal_(std=0.002, generator=generator)
    adapted.save_pretrained(place / "adapter")
    return {
        "model": source.location,
        "adapter": str(place / "adapter"),
        "rows": str(place / "rows.npz"),
        "lengths": lengths.tolist(),
        "supervised": [int(t.sum()) for t in trained],
    }


def run(contestant: str, config: dict[str, Any], shared: dict[str, Any], steps: int, place: Path) -> dict[str, Any]:
    """One contestant in a fresh process."""
    job = {
        **{k: shared[k] for k in ("model", "adapter", "rows")},
        "contestant": contestant,
        "config": config,
        "steps": steps,
        "batch_size": BATCH_SIZE,
        "threads": torch.get_num_threads(),
        "scratch": str(place / "scratch"),
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "sft_contestant.py")],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **config.get("environment", {})},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise SystemExit(f"{contestant} {config} failed:\n{done.stderr[-3000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


def replay_tokens_per_second(lengths: list[int], supervised: list[int]) -> float:
    """Nothing but the matrix products of one LoRA step: forward and input gradient of each linear layer and of the head."""
    from luthier.models.load import find_model, load_causal_lm

    model = load_causal_lm(find_model(MODEL), torch.bfloat16, torch.device("cpu"))
    linears = [m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in n]
    head = model.get_output_embeddings().weight
    num_tokens, num_targets = 2048, round(2048 * sum(supervised) / sum(lengths))
    inputs = {m.in_features: torch.randn(num_tokens, m.in_features).bfloat16() for m in linears}
    outputs = {m.out_features: torch.randn(num_tokens, m.out_features).bfloat16() for m in linears}
    hidden = torch.randn(num_targets, head.shape[1]).bfloat16()
    probabilities = torch.randn(num_targets, head.shape[0]).bfloat16()
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        for linear in linears:
            torch.mm(inputs[linear.in_features], linear.weight.t())
            torch.mm(outputs[linear.out_features], linear.weight)
        torch.mm(hidden, head.t())
        torch.mm(probabilities, head)
        seconds.append(time.perf_counter() - began)
    return num_tokens / statistics.median(seconds[1:])


def measure(result: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Rates and memory of one contestant; the first step warms up."""
    seconds = result["seconds"]
    rates, supervised = [], []
    for step in range(1, len(seconds)):
        rows = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
        rates.append(sum(shared["lengths"][rows]) / seconds[step])
        supervised.append(sum(shared["supervised"][rows]) / seconds[step])
    return {
        "tokens_per_second": statistics.median(rates),
        "supervised_tokens_per_second": statistics.median(supervised),
        "slowest": min(rates),
        "fastest": max(rates),
        "peak_bytes": result["peak_bytes"] - result["before_bytes"],
        "losses": result["losses"],
        "grad_norms": result["grad_norms"],
    }


def gate(ours: dict[str, Any], same_format: dict[str, Any], exact: dict[str, Any]) -> dict[str, Any]:
    """Largest relative differences to TRL, and whether they are allowed."""
    per_step = max(abs(a - b) / b for a, b in zip(ours["losses"], same_format["losses"], strict=True))
    first = abs(ours["losses"][0] - exact["losses"][0]) / exact["losses"][0]
    norm = abs(ours["grad_norms"][0] - exact["grad_norms"][0]) / exact["grad_norms"][0]
    passed = per_step <= 0.005 and first <= 0.005 and norm <= 0.01 and min(ours["grad_norms"]) > 0
    return {
        "loss_per_step_same_format": per_step,
        "first_loss_fp32": first,
        "first_grad_norm_fp32": norm,
        "passed": passed,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewer steps, and only the fastest rivals of the full search"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--save", action="store_true", help="append the result to benchmarks/results/cpu_sft.jsonl")
    options = parser.parse_args()
    steps = 3 if options.quick else 6
    rivals = {name: TRL_SEARCH[name] for name in QUICK} if options.quick else TRL_SEARCH

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="luthier-bench-") as temporary:
        place = Path(temporary)
        shared = prepare(place, steps * BATCH_SIZE)
        rows: dict[str, dict[str, Any]] = {}
        say("luthier …")
        rows["luthier"] = measure(run("luthier", {}, shared, steps, place), shared)
        rows["luthier, prefixes not shared"] = measure(
            run("luthier", {"share_prefixes": False}, shared, steps, place), shared
        )
        say("reference (TRL, fp32, one step) …")
        exact = run("trl", REFERENCE, shared, 1, place)
        for name, config in rivals.items():
            say(f"trl, {name} …")
            rows[f"trl, {name}"] = measure(run("trl", config, shared, steps, place), shared)
        gates = gate(rows["luthier"], rows[f"trl, {SAME_FORMAT}"], exact)
        say("luthier again …")  # before and after: a machine that drifts shows here
        again = measure(run("luthier", {}, shared, steps, place), shared)
        replay = replay_tokens_per_second(shared["lengths"], shared["supervised"])
    ours = statistics.mean([rows["luthier"]["tokens_per_second"], again["tokens_per_second"]])
    best_name = max((n for n in rows if n.startswith("trl")), key=lambda n: rows[n]["tokens_per_second"])
    best = rows[best_name]
    result = {
        "benchmark": "cpu_sft",
        "quick": options.quick,
        "gate": gates,
        "rows": rows,
        "luthier_again": again["tokens_per_second"],
        "best_peer": best_name,
        "ratio_to_best_peer": ours / best["tokens_per_second"],
        "memory_ratio_to_best_peer": rows["luthier"]["peak_bytes"] / best["peak_bytes"],
        "replay_tokens_per_second": replay,
        "ratio_to_replay": ours / replay,
        "machine": identity(),
    }
    show(result, say)
    if options.save:
        with (HERE / "results" / "cpu_sft.jsonl").open("a") as file:
            file.write(json.dumps(result) + "\n")
    if options.json:
        print(json.dumps(result))
    return 0 if gates["passed"] else 1


def show(result: dict[str, Any], say: Any) -> None:
    """The table for people."""
    say(f"\n{'contestant':<52} {'tokens/s':>9} {'supervised/s':>13} {'peak GiB':>9}")
    for name, row in result["rows"].items():
        say(
            f"{name:<52} {row['tokens_per_second']:>9.1f} {row['supervised_tokens_per_second']:>13.1f} "
            f"{row['peak_bytes'] / 1024**3:>9.2f}"
        )
    gates = result["gate"]
    verdict = "passed" if gates["passed"] else "FAILED"
    say(f"gate {verdict}: losses within {100 * gates['loss_per_step_same_format']:.2f} % of TRL in bf16 in every step;")
    loss, norm = 100 * gates["first_loss_fp32"], 100 * gates["first_grad_norm_fp32"]
    say(f"  first step against TRL in fp32: loss {loss:.2f} %, gradient norm {norm:.2f} %")
    say(
        f"ratio to best peer ({result['best_peer']}): {result['ratio_to_best_peer']:.2f} in speed, "
        f"{result['memory_ratio_to_best_peer']:.2f} in memory; to the replay of the products: {result['ratio_to_replay']:.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
