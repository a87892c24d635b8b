"""The processes that train together. One process is the ordinary case; under torchrun there are several.

accelerate sets up device and process group and nothing more. Gradients are averaged by DDP around the scoring model, so
the loop multiplies its sums by the number of ranks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among `world_size`."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @classmethod
    def from_environment(cls, cpu: bool) -> Ranks:
        """Join the process group if torchrun started us."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        from accelerate import PartialState

        state = PartialState(cpu=cpu)
        return cls(state.process_index, state.local_process_index, state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The module whose forward the objective calls: DDP where there are several ranks."""
        if self.world_size == 1:
            return model
        ids = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)

    def no_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """Inside, a backward pass keeps its gradients to itself."""
        return model.no_sync() if isinstance(model, nn.parallel.DistributedDataParallel) else nullcontext()

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over all ranks; every rank passes the same names."""
        if self.world_size == 1 or not values:
            return dict(values)
        names = sorted(values)
        tensor = torch.tensor([values[n] for n in names], dtype=torch.float64)
        if distributed.get_backend() == "nccl":
            tensor = tensor.cuda()
        distributed.all_reduce(tensor)
        return dict(zip(names, tensor.tolist(), strict=True))

    def agree_on_signal(self, signal_number: int | None) -> int | None:
        """The highest signal number that any rank received, so that all ranks stop after the same step."""
        if self.world_size == 1:
            return signal_number
        tensor = torch.tensor([signal_number or 0])
        if distributed.get_backend() == "nccl":
            tensor = tensor.cuda()
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
        return int(tensor) or None

    def barrier(self) -> None:
        """Wait for all."""
        if self.world_size > 1:
            distributed.barrier()
