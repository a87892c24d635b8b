"""One of the two processes of the collective trial: ``python -m luthier.doctor.two_ranks BACKEND FILE RANK`` prints the sum."""

from __future__ import annotations

import sys
from datetime import timedelta

import torch
from torch import distributed


def main(backend: str, meeting_file: str, rank: int) -> None:
    """Meet the other process in a file, add up the ranks' numbers (1 and 2), print what came out."""
    if backend == "nccl":
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        backend, init_method=f"file://{meeting_file}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    number = torch.tensor(float(rank + 1), device="cuda" if backend == "nccl" else "cpu")
    distributed.all_reduce(number)
    print(float(number))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
