"""`luthier verify resume`: on this machine, with this recipe, an interrupted run ends in the very same weights.

Two short runs of 2N steps: one in peace; the other killed (kill −9) while it is between checkpoints, then resumed. Every tensor
of their last checkpoints must be equal bit for bit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.config.load import LoadedRecipe, dump_resolved, resolve
from luthier.errors import LuthierError
from luthier.reporter import Reporter, Silent
from luthier.runs.folder import RunFolder
from luthier.types import Check

HALF_STEPS = 4
PATIENCE_SECONDS = 3600


@dataclass(frozen=True)
class VerifyResult:
    """Outcome of a verification."""

    checks: list[Check]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "passed": self.passed,
            "seconds": round(self.seconds, 1),
            "checks": [check.to_json() for check in self.checks],
        }


def verify_resume(
    recipe: LoadedRecipe, *, reporter: Reporter | None = None, half_steps: int = HALF_STEPS
) -> VerifyResult:
    """Train 2N steps with and without a kill after N, and compare.

    Args:
        recipe: Any recipe; its length, run name and folder are replaced, its data and model are used as they are.
        reporter: Told of the stages.
        half_steps: N.

    Raises:
        LuthierError: One of the runs failed by itself; its message is passed on.
    """
    reporter = reporter or Silent()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="luthier-verify-") as temporary:
        place = Path(temporary)
        reporter.stage(f"{2 * half_steps} steps without interruption")
        _finish_run(_train_command(recipe, place, "peace", half_steps))
        reporter.stage(f"{2 * half_steps} steps, killed after step {half_steps}")
        killed_at = _kill_after(_train_command(recipe, place, "killed", half_steps), place / "killed", half_steps)
        reporter.say(f"Killed (SIGKILL) after step {killed_at}.")
        reporter.stage("Resume")
        _finish_run([*_luthier(), "train", "--resume", str(place / "killed")])
        check = _compare(place / "peace", place / "killed", half_steps, killed_at)
    reporter.check(check)
    return VerifyResult([check], time.perf_counter() - began)


def _luthier() -> list[str]:
    return [sys.executable, "-m", "luthier"]


def _train_command(recipe: LoadedRecipe, place: Path, name: str, half_steps: int) -> list[str]:
    resolved = resolve(recipe)
    file = place / f"{name}.yaml"
    file.write_text(dump_resolved(resolved, recipe.origins), encoding="utf-8")
    changes = {
        "run.name": name,
        "run.folder": str(place),
        "train.max_steps": 2 * half_steps,
        "train.evaluate_every": 2 * half_steps,
        "train.checkpoint_every": half_steps,
        "evaluate.stop_test_rows": 0,
        "evaluate.sample_prompts": 0,
        "evaluate.general": "never",
    }
    return [*_luthier(), "train", str(file), *(f"{key}={value}" for key, value in changes.items())]


def _finish_run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    if done.returncode not in (0, 1):  # 1: ran to its end, but unverified, which is not the question here
        raise LuthierError(f"A training run of the verification failed:\n{done.stderr.strip()[-2000:]}")
    if done.returncode == 1 and "checks failed" in done.stderr:
        raise LuthierError(
            f"A training run of the verification was stopped by its checks:\n{done.stderr.strip()[-2000:]}"
        )


def _kill_after(command: list[str], run: Path, step: int) -> int:
    """Start a run, kill it once it has gone beyond `step` (where its checkpoint is), return the step it had reached."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            reached = max((r["step"] for r in RunFolder(run).read_lines("metrics.jsonl")), default=0)
            if reached > step:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                return reached
            time.sleep(0.02)
        message = process.stderr.read() if process.stderr else ""
    raise LuthierError(f"The run ended before it could be killed:\n{message.strip()[-2000:]}")


def _compare(peace: Path, killed: Path, half_steps: int, killed_at: int) -> Check:
    import torch
    from safetensors.torch import load_file

    tensors = []
    for run in (peace, killed):
        index = RunFolder(run).read_json("checkpoints/index.json")
        tensors.append(load_file(run / "checkpoints" / index["last"]["folder"] / "state.safetensors"))
    different = [name for name in tensors[0] if not torch.equal(tensors[0][name], tensors[1][name])]
    if tensors[0].keys() != tensors[1].keys():
        different.append("the names of the tensors")
    return Check(
        name="verify.resume",
        claim=f"{2 * half_steps} steps equal {half_steps} steps + kill −9 (after step {killed_at}) + resume, bit for bit: "
        "weights, moments, random numbers.",
        measured=f"{len(tensors[0]) - len(different)} of {len(tensors[0])} tensors equal"
        + (f"; first other: {different[0]}" if different else ""),
        limit=f"{len(tensors[0])} of {len(tensors[0])} tensors equal",
        unit="",
        passed=not different,
        advice="Resumed runs on this machine are other runs. Fix train.num_threads; on GPUs some kernels do not repeat.",
    )
