"""A short name for the values of many tensors, computed where they lie: tells whether weights changed, bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

_CHUNK = 2**24
_AS_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@torch.no_grad()
def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Hash over names, shapes, types and values.

    Values enter as sums over their bits read as integers, plain and position-weighted, modulo 2⁶⁴, per chunk: any single
    change is seen, and so is any exchange of two values (of up to 32 bits); made for accidents, not for adversaries.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}".encode())
        bits = tensor.detach().contiguous().view(-1).view(_AS_INTEGERS[tensor.element_size()])
        for chunk in bits.split(_CHUNK):
            values = chunk.to(torch.int64)
            places = torch.arange(1, len(values) + 1, device=values.device)
            digest.update(f"|{int(values.sum())}|{int((values * places).sum())}".encode())
    return digest.hexdigest()
