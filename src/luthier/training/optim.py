"""AdamW over fp32 masters. Compute copies inside the model may be bf16; every micro-batch's gradient is added in fp32.

A parameter that is fp32 in the model is its own master. Otherwise the master is a copy; `absorb_gradients` adds the
model's gradient to the master's after each backward pass, and `step` writes the new values back, rounded.

Without masters a bf16 parameter is updated through a passing fp32 copy and rounded at random, up or down with the probability
that makes the mean right: updates below half a bf16 step would else be lost every time (Gupta et al. 2015).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from luthier.training.moments import OptimizerName, make_moments


class Update(NamedTuple):
    """What an optimiser step did."""

    grad_norm: float
    applied: bool
    """False where the gradient was not finite: the weights are as before."""


class Group(NamedTuple):
    """Parameters that are decayed alike and learn at the same rate."""

    names: tuple[str, ...]
    weight_decay: float
    rate_factor: float


class MasterAdamW:
    """AdamW (Loshchilov & Hutter 2019) with global-norm clipping and a guard against non-finite gradients.

    Args:
        parameters: Trained parameters of the model, by name.
        weight_decay: For matrices only; vectors (norms, biases) are not decayed.
        max_grad_norm: 0 switches clipping off.
        rate_factors: By what the learning rate of a parameter is multiplied; 1 for those that are not in it.
        optimizer: How the moments are kept.
        has_masters: Whether parameters that are not fp32 have fp32 masters; without, they are rounded at random.
        seed: Of that rounding, together with the number of updates: no state of its own to save.
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
        optimizer: OptimizerName = "adamw",
        has_masters: bool = True,
        seed: int = 0,
    ) -> None:
        assert parameters, "nothing to train"
        self.parameters = dict(parameters)
        self.masters = {
            name: p if p.dtype == torch.float32 or not has_masters else nn.Parameter(p.detach().float())
            for name, p in parameters.items()
        }
        self.max_grad_norm = max_grad_norm
        self.groups = _groups(self.masters, weight_decay, rate_factors or {})
        self._seed = seed
        self._rounded = {name for name, master in self.masters.items() if master.dtype != torch.float32}
        self._sums: dict[str, Tensor] = {}
        """fp32 gradients of parameters that have no master to carry them."""
        self._moments = make_moments(optimizer, betas, epsilon)
        for name, master in self.masters.items():
            self._moments.add(name, master)

    @property
    def has_copies(self) -> bool:
        """Whether gradients must be absorbed after each backward, because what carries them in fp32 is not the parameter."""
        return bool(self._rounded) or any(self.masters[name] is not p for name, p in self.parameters.items())

    def absorb_gradients(self) -> None:
        """Add the compute copies' gradients to the masters' in fp32 and free them."""
        for name, parameter in self.parameters.items():
            gradient = parameter.grad
            if gradient is None or (self.masters[name] is parameter and name not in self._rounded):
                continue
            carried = self._gradient(name)
            if carried is None:
                self._carry(name, gradient.float())
            else:
                carried.add_(gradient)
            parameter.grad = None

    def _gradient(self, name: str) -> Tensor | None:
        return self._sums.get(name) if name in self._rounded else self.masters[name].grad

    def _carry(self, name: str, gradient: Tensor) -> None:
        if name in self._rounded:
            self._sums[name] = gradient
        else:
            self.masters[name].grad = gradient

    def gradients(self) -> dict[str, Tensor]:
        """fp32 gradients by name; absent ones left out."""
        return {name: gradient for name in self.masters if (gradient := self._gradient(name)) is not None}

    def zero_gradients(self) -> None:
        """Forget all gradients."""
        self._sums.clear()
        for tensor in (*self.masters.values(), *self.parameters.values()):
            tensor.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float, inverse_scale: float = 1.0) -> Update:
        """Clip, update masters, write compute copies, forget gradients.

        Args:
            learning_rate: Rate of this step.
            inverse_scale: 1 / loss scale; gradients are multiplied by it first.
        """
        grads = self.gradients()
        if inverse_scale != 1.0:
            for grad in grads.values():
                grad.mul_(inverse_scale)
        norm = torch.nn.utils.get_total_norm(list(grads.values())) if grads else torch.zeros(())
        grad_norm = float(norm)
        finite = grad_norm == grad_norm and grad_norm != float("inf")
        if finite:
            if self.max_grad_norm:  # as torch.nn.utils.clip_grads_with_norm_ does it
                factor = (self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
                for grad in grads.values():
                    grad.mul_(factor.to(grad.device))
            for group in self.groups:
                self._update(group, grads, learning_rate * group.rate_factor)
            self._write_copies()
        self.zero_gradients()
        return Update(grad_norm, finite)

    def _update(self, group: Group, grads: Mapping[str, Tensor], rate: float) -> None:
        together = [name for name in group.names if name in grads and name not in self._rounded]
        if together:
            weights = [self.masters[name].data for name in together]
            self._moments.update(together, weights, [grads[n] for n in together], rate=rate, decay=group.weight_decay)
        for name in group.names:
            if name in grads and name in self._rounded:
                weight = self.masters[name].data
                whole = weight.float()
                self._moments.update([name], [whole], [grads[name]], rate=rate, decay=group.weight_decay)
                weight.copy_(round_at_random(whole, self._generator(name, weight.device)))

    def _generator(self, name: str, device: torch.device) -> torch.Generator:
        """Random numbers that depend on the seed, the parameter and its number of updates alone."""
        updates = int(self._moments.tensors(name)["step"])
        place = list(self.masters).index(name)
        generator = torch.Generator(device)
        generator.manual_seed((self._seed * 1_000_003 + updates) * 100_003 + place)
        return generator

    def _write_copies(self) -> None:
        for name, parameter in self.parameters.items():
            if self.masters[name] is not parameter:
                parameter.data.copy_(self.masters[name].data)

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything a resume needs, by ``master/…`` and the moments' own names: ``exp_avg/…``, ``exp_avg_sq/…``, ``step/…``."""
        tensors: dict[str, Tensor] = {}
        for name, master in self.masters.items():
            tensors[f"master/{name}"] = master.data
            tensors.update({f"{key}/{name}": value for key, value in self._moments.tensors(name).items()})
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


def _groups(masters: Mapping[str, Tensor], weight_decay: float, rate_factors: Mapping[str, float]) -> tuple[Group, ...]:
    names: dict[tuple[float, float], list[str]] = {}
    for name, master in masters.items():
        decay = weight_decay if master.ndim > 1 else 0.0
        names.setdefault((decay, rate_factors.get(name, 1.0)), []).append(name)
    return tuple(Group(tuple(members), decay, factor) for (decay, factor), members in names.items())


def round_at_random(weight: Tensor, generator: torch.Generator) -> Tensor:
    """fp32 numbers as bf16, rounded up or down with the probabilities that keep the mean; the sign does not matter.

    bf16 is the upper half of an fp32: adding a random lower half before cutting it off carries over with exactly the probability
    that the cut-off part stands for.
    """
    noise = torch.randint(0, 1 << 16, weight.shape, dtype=torch.int32, device=weight.device, generator=generator)
    return ((weight.view(torch.int32) + noise) & -65536).view(torch.float32).to(torch.bfloat16)
