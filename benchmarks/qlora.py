"""What 4-bit weights cost in quality: LoRA and QLoRA by their recipes, the same rows, steps and seed; held-out loss and memory.

    python benchmarks/qlora.py [--steps N] [--rows N] [--json]

The embedded model was de-quantised from Q4_1, so its weights lose less by 4 bits than original ones would.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import identity

REPOSITORY = Path(__file__).resolve().parents[1]
CASES = {
    "lora": ("sft_lora.yaml", []),
    "nf4": ("sft_qlora.yaml", []),
    "nf4, loftq": ("sft_qlora.yaml", ["adapter.init=loftq"]),
    "int8": ("sft_qlora.yaml", ["precision.base=int8"]),
}


def train(name: str, folder: Path, steps: int, rows: int) -> dict[str, Any]:
    """One training in a process of its own."""
    recipe, overrides = CASES[name]
    settings = [
        f"run.folder={folder}",
        f"run.name={name.replace(', ', '-')}",
        f"train.max_steps={steps}",
        "train.batch_size=8",
        "train.learning_rate=5e-4",
        f"train.evaluate_every={max(1, steps // 2)}",
        f"data.limit={rows}",
        "precision.compute=bf16",
        "evaluate.stop_test_rows=0",
        "evaluate.sample_prompts=0",
        *overrides,
    ]
    command = [sys.executable, "-m", "luthier", "train", str(REPOSITORY / "recipes" / recipe), *settings, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout)
    metrics = [json.loads(line) for line in (Path(result["run"]) / "metrics.jsonl").read_text().splitlines()]
    steps_made = [record for record in metrics if record["kind"] == "train"]
    return {
        "case": name,
        "validation_loss": result["validation_loss"],
        "untrained_loss": next(r["loss"] for r in metrics if r["kind"] == "validation" and r["step"] == 0),
        "tokens_per_second": sum(r["tokens"] for r in steps_made) / sum(r["seconds"] for r in steps_made),
        "peak_bytes": max(r["memory_bytes"] for r in steps_made),
        "verdict": result["verdict"],
    }


def main() -> None:
    """Train all cases and say how far each is from LoRA."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="luthier-qlora-") as folder:
        results = [train(name, Path(folder), options.steps, options.rows) for name in options.only]
    base = next((r["validation_loss"] for r in results if r["case"] == "lora"), None)
    for result in results:
        result["against_lora"] = None if base is None else result["validation_loss"] / base - 1
    if options.json:
        print(json.dumps({"machine": identity(), "steps": options.steps, "rows": options.rows, "results": results}))
        return
    for result in results:
        delta = "" if result["against_lora"] is None else f" ({100 * result['against_lora']:+.1f} % against LoRA)"
        print(
            f"{result['case']:12} held-out loss {result['validation_loss']:.4f}{delta}, untrained "
            f"{result['untrained_loss']:.4f}; {result['tokens_per_second']:.0f} tokens/s, "
            f"{result['peak_bytes'] / 2**30:.2f} GiB, {result['verdict']}"
        )


if __name__ == "__main__":
    main()
