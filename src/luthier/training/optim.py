"""AdamW over fp32 masters. Compute copies inside the model may be bf16; every micro-batch's gradient is added in fp32.

A parameter that is fp32 in the model is its own master. Otherwise the master is a copy; `absorb_gradients` adds the
model's gradient to the master's after each backward pass, and `step` writes the new values back, rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Update(NamedTuple):
    """What an optimiser step did."""

    grad_norm: float
    applied: bool
    """False where the gradient was not finite: the weights are as before."""


class MasterAdamW:
    """AdamW (Loshchilov & Hutter 2019) with global-norm clipping and a guard against non-finite gradients.

    Args:
        parameters: Trained parameters of the model, by name.
        weight_decay: For matrices only; vectors (norms, biases) are not decayed.
        max_grad_norm: 0 switches clipping off.
        rate_factors: By what the learning rate of a parameter is multiplied; 1 for those that are not in it.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        betas: tuple[float, float],
        epsilon: float,
        weight_decay: float,
        max_grad_norm: float,
        rate_factors: Mapping[str, float] | None = None,
    ) -> None:
        assert parameters, "nothing to train"
        self.parameters = dict(parameters)
        self.masters = {
            name: p if p.dtype == torch.float32 else nn.Parameter(p.detach().float()) for name, p in parameters.items()
        }
        self.max_grad_norm = max_grad_norm
        self._adamw = torch.optim.AdamW(
            self._groups(weight_decay, rate_factors or {}), lr=0.0, betas=betas, eps=epsilon, fused=True
        )
        # Moments exist from the start, so that what the preflight measures is what training needs.
        for master in self.masters.values():
            self._adamw.state[master] = {
                "step": torch.tensor(0.0, device=master.device if master.is_cuda else None),
                "exp_avg": torch.zeros_like(master),
                "exp_avg_sq": torch.zeros_like(master),
            }

    def _groups(self, weight_decay: float, rate_factors: Mapping[str, float]) -> list[dict[str, Any]]:
        """Parameters that are decayed alike and learn at the same rate; matrices before vectors, in the order of names."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, master in self.masters.items():
            decay = weight_decay if master.ndim > 1 else 0.0
            groups.setdefault((decay, rate_factors.get(name, 1.0)), []).append(master)
        return [
            {"params": masters, "weight_decay": decay, "rate_factor": factor}
            for (decay, factor), masters in sorted(groups.items(), key=lambda group: -group[1][0].ndim)
        ]

    @property
    def has_copies(self) -> bool:
        """Whether any compute copy differs from its master, so that gradients must be absorbed after each backward."""
        return any(self.masters[name] is not p for name, p in self.parameters.items())

    def absorb_gradients(self) -> None:
        """Add the compute copies' gradients to the masters' in fp32 and free them."""
        for name, parameter in self.parameters.items():
            master = self.masters[name]
            if master is parameter or parameter.grad is None:
                continue
            if master.grad is None:
                master.grad = parameter.grad.float()
            else:
                master.grad.add_(parameter.grad)
            parameter.grad = None

    def gradients(self) -> dict[str, Tensor]:
        """fp32 gradients by name; absent ones left out."""
        return {name: m.grad for name, m in self.masters.items() if m.grad is not None}

    def zero_gradients(self) -> None:
        """Forget all gradients."""
        for tensor in (*self.masters.values(), *self.parameters.values()):
            tensor.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float, inverse_scale: float = 1.0) -> Update:
        """Clip, update masters, write compute copies, forget gradients.

        Args:
            learning_rate: Rate of this step.
            inverse_scale: 1 / loss scale; gradients are multiplied by it first.
        """
        grads = list(self.gradients().values())
        if inverse_scale != 1.0:
            for grad in grads:
                grad.mul_(inverse_scale)
        norm = torch.nn.utils.get_total_norm(grads) if grads else torch.zeros(())
        grad_norm = float(norm)
        finite = grad_norm == grad_norm and grad_norm != float("inf")
        if finite:
            if self.max_grad_norm:
                torch.nn.utils.clip_grads_with_norm_(self.masters.values(), self.max_grad_norm, norm)
            for group in self._adamw.param_groups:
                group["lr"] = learning_rate * group["rate_factor"]
            self._adamw.step()
            self._write_copies()
        self.zero_gradients()
        return Update(grad_norm, finite)

    def _write_copies(self) -> None:
        for name, parameter in self.parameters.items():
            if self.masters[name] is not parameter:
                parameter.data.copy_(self.masters[name].data)

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything a resume needs, by ``master/…``, ``exp_avg/…``, ``exp_avg_sq/…``, ``step/…``."""
        tensors: dict[str, Tensor] = {}
        for name, master in self.masters.items():
            tensors[f"master/{name}"] = master.data
            tensors.update({f"{key}/{name}": value for key, value in self._adamw.state[master].items()})
        return tensors

    @torch.no_grad()
    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore `state_tensors`; names and shapes must match exactly."""
        mine = self.state_tensors()
        assert mine.keys() == tensors.keys(), sorted(mine.keys() ^ tensors.keys())[:4]
        for name, tensor in mine.items():
            assert tensor.shape == tensors[name].shape, name
            tensor.copy_(tensors[name])
        self._write_copies()
