"""Checkpoints: everything a run needs to go on as if nothing had happened, written so that a crash cannot harm them.

    checkpoints/
      index.json            {"last": {"folder", "step"}, "best": {"folder", "step", "loss"}}: the only truth about what is valid
      step-000128/          state.safetensors (masters, moments, RNG) and state.json (step, fingerprints, loss scale)

A checkpoint is written aside, flushed, renamed, opened again and compared; only then does the index name it, and only then are
older ones deleted. What the index does not name is rubbish from a crash and is swept away.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from luthier.errors import ResourceError, RunError
from luthier.runs.atomic import sync_folder, write_json
from luthier.training.early_stopping import improves
from luthier.training.optim import MasterAdamW
from luthier.units import format_bytes


@dataclass(frozen=True, slots=True)
class Saved:
    """An entry of the index.

    Attributes:
        loss: Of the validation at this step.
        criterion: What decides whether it is the best, less is better; None: the loss.
    """

    folder: str
    step: int
    loss: float | None
    criterion: float | None = None

    @property
    def decisive(self) -> float | None:
        """The criterion, or the loss."""
        return self.loss if self.criterion is None else self.criterion


@dataclass(frozen=True, slots=True)
class Position:
    """The part of a checkpoint that is not tensors.

    Attributes:
        step: Optimiser steps done.
        loss_scale: fp16 only; 1 otherwise.
        loss_scale_good_steps: Steps since it changed.
        num_threads: CPU threads, without which a CPU run does not repeat bit for bit.
        fingerprints: What must be the same when the run goes on, by name.
        seconds: Training time so far.
        validation_losses: All that were measured up to here, in order.
        criteria: What was decisive at each of these validations: the loss, or what stood in its place.
        wants_stop: Whether the last of them asked to end the training.
    """

    step: int
    loss_scale: float
    loss_scale_good_steps: int
    num_threads: int
    fingerprints: Mapping[str, str]
    seconds: float
    validation_losses: tuple[float, ...] = ()
    criteria: tuple[float, ...] = ()
    wants_stop: bool = False


def _rng_tensors() -> dict[str, Tensor]:
    tensors = {"rng/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    return tensors


def _restore_rng(tensors: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(tensors["rng/cpu"])
    if "rng/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng/cuda"])


class CheckpointStore:
    """The checkpoints of one run: *last* and *best* are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _index(self) -> dict[str, Any]:
        path = self.folder / "index.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def _entry(self, name: str) -> Saved | None:
        record = self._index().get(name)
        return Saved(**record) if record else None

    @property
    def last(self) -> Saved | None:
        """The newest checkpoint."""
        return self._entry("last")

    @property
    def best(self) -> Saved | None:
        """The one with the lowest criterion: validation loss, or what stands in its place."""
        return self._entry("best")

    def save(
        self,
        optimizer: MasterAdamW,
        position: Position,
        validation_loss: float | None,
        criterion: float | None = None,
    ) -> None:
        """Write, verify, then name it in the index; it becomes *best* if its criterion is the lowest so far.

        Args:
            optimizer: Whose state is written.
            position: Where the training stands.
            validation_loss: Measured at this step; None: it was not.
            criterion: What decides in its place; None: the loss itself.

        Raises:
            ResourceError: The disk is full or broken; earlier checkpoints stay as they are.
        """
        tensors = {
            name: t.detach().cpu().contiguous() for name, t in optimizer.state_tensors().items()
        } | _rng_tensors()
        name = f"step-{position.step:06d}"
        aside = self.folder / f".{name}.tmp"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir()
            save_file(tensors, aside / "state.safetensors")
            write_json(aside / "state.json", asdict(position))
            _flush(aside / "state.safetensors")
            _verify(aside / "state.safetensors", tensors)
            if (self.folder / name).exists():
                shutil.rmtree(self.folder / name)
            os.rename(aside, self.folder / name)
        except (OSError, RuntimeError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            size = sum(t.numel() * t.element_size() for t in tensors.values())
            free = shutil.disk_usage(self.folder).free
            raise ResourceError(
                f"The checkpoint of step {position.step} ({format_bytes(size)}) could not be written to {self.folder} "
                f"({format_bytes(free)} free): {error}. Earlier checkpoints are intact; make room, then: luthier train --resume"
            ) from error
        sync_folder(self.folder)
        saved = Saved(name, position.step, validation_loss, criterion)
        index = {**self._index(), "last": asdict(saved)}
        best = self.best
        if saved.decisive is not None and improves(saved.decisive, best.decisive if best else None):
            index["best"] = asdict(saved)
        write_json(self.folder / "index.json", index)
        self._sweep({entry["folder"] for entry in index.values()})

    def _sweep(self, keep: set[str]) -> None:
        for path in self.folder.iterdir():
            if path.is_dir() and path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def read_position(self, saved: Saved) -> Position:
        """The part of a checkpoint that is not tensors."""
        record = json.loads((self.folder / saved.folder / "state.json").read_text(encoding="utf-8"))
        losses = tuple(record.get("validation_losses", ()))
        return Position(**{**record, "validation_losses": losses, "criteria": tuple(record.get("criteria", losses))})

    def restore(self, saved: Saved, optimizer: MasterAdamW, *, rng: bool) -> Position:
        """Bring optimiser, weights and, if asked, the random numbers back to a checkpoint.

        Raises:
            RunError: The checkpoint is damaged.
        """
        try:
            tensors = load_file(self.folder / saved.folder / "state.safetensors")
            position = self.read_position(saved)
        except Exception as error:
            raise RunError(f"The checkpoint {self.folder / saved.folder} cannot be read: {error}") from error
        optimizer.load_state_tensors({n: t for n, t in tensors.items() if not n.startswith("rng/")})
        if rng:
            _restore_rng(tensors)
        return position


def refuse_mismatch(saved: Mapping[str, str], present: Mapping[str, str]) -> None:
    """Raise RunError naming everything that is not as it was when the checkpoint was written."""
    changed = [name for name in saved if present.get(name) != saved[name]]
    if changed:
        details = "\n".join(f"  {n}: was {saved[n][:16]}, is {present.get(n, 'absent')[:16]}" for n in changed)
        raise RunError(
            f"This run cannot go on, it would be another run. Changed since the checkpoint: {', '.join(changed)}.\n{details}\n"
            "Restore what changed, or start a new run under another run.name."
        )


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _verify(path: Path, tensors: Mapping[str, Tensor]) -> None:
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        if names != set(tensors):
            raise RuntimeError(f"{path} holds {len(names)} tensors, {len(tensors)} were written")
        for name, tensor in tensors.items():
            if not torch.equal(file.get_tensor(name), tensor):
                raise RuntimeError(f"{path}: tensor {name} reads back differently from what was written")
