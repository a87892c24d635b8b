"""The losses of direct preference optimisation: one function each, from log-ratios to a loss per pair.

With c = log π(y⁺|x)/π_ref(y⁺|x) and r the same of the rejected answer y⁻, d = c − r:

    sigmoid       −log σ(βd)                                    Rafailov et al. 2023 (DPO), eq. 7
    cdpo          −(1−ε) log σ(βd) − ε log σ(−βd)               Mitchell 2023: labels wrong with probability ε
    robust        [−(1−ε) log σ(βd) + ε log σ(−βd)] / (1−2ε)    Chowdhury et al. 2024: unbiased under that noise
    ipo           (c/|y⁺| − r/|y⁻| − 1/(2β))²                   Azar et al. 2023, eq. 17, per token as its authors do
    hinge         max(0, 1 − βd)                                Zhao et al. 2023 (SLiC)
    apo_zero      1 − σ(βc) + σ(βr)                             D'Oosterlinck et al. 2024, eq. 7
    apo_down      σ(βc) + 1 − σ(βd)                             the same, eq. 8
    sigmoid_norm  −log σ(β(c/|y⁺| − r/|y⁻|))                    Lambert et al. 2024 (Tülu 3): length-normalised

Shape letters: P pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

DpoLoss = Literal["sigmoid", "cdpo", "robust", "ipo", "hinge", "apo_zero", "apo_down", "sigmoid_norm"]


class LogRatios(NamedTuple):
    """log π/π_ref of chosen and rejected answers, in nats, and their lengths in tokens."""

    chosen_P: Tensor
    rejected_P: Tensor
    chosen_length_P: Tensor
    rejected_length_P: Tensor

    @property
    def difference(self) -> Tensor:
        """The difference d of the log-ratios."""
        return self.chosen_P - self.rejected_P

    @property
    def mean_difference(self) -> Tensor:
        """Difference of the log-ratios per token."""
        return self.chosen_P / self.chosen_length_P - self.rejected_P / self.rejected_length_P


def sigmoid(ratios: LogRatios, beta: float, _: float) -> Tensor:
    """−log σ(βd)."""
    return -F.logsigmoid(beta * ratios.difference)


def cdpo(ratios: LogRatios, beta: float, smoothing: float) -> Tensor:
    """−(1−ε) log σ(βd) − ε log σ(−βd)."""
    d_P = beta * ratios.difference
    return -(1 - smoothing) * F.logsigmoid(d_P) - smoothing * F.logsigmoid(-d_P)


def robust(ratios: LogRatios, beta: float, smoothing: float) -> Tensor:
    """[−(1−ε) log σ(βd) + ε log σ(−βd)] / (1−2ε)."""
    d_P = beta * ratios.difference
    return (-(1 - smoothing) * F.logsigmoid(d_P) + smoothing * F.logsigmoid(-d_P)) / (1 - 2 * smoothing)


def ipo(ratios: LogRatios, beta: float, _: float) -> Tensor:
    """(c/|y⁺| − r/|y⁻| − 1/(2β))²."""
    return (ratios.mean_difference - 1 / (2 * beta)).square()


def hinge(ratios: LogRatios, beta: float, _: float) -> Tensor:
    """max(0, 1 − βd)."""
    return F.relu(1 - beta * ratios.difference)


def apo_zero(ratios: LogRatios, beta: float, _: float) -> Tensor:
    """1 − σ(βc) + σ(βr): the chosen answers are better than the model's own."""
    return 1 - F.sigmoid(beta * ratios.chosen_P) + F.sigmoid(beta * ratios.rejected_P)


def apo_down(ratios: LogRatios, beta: float, _: float) -> Tensor:
    """σ(βc) + 1 − σ(βd): the model's own answers are better than the chosen ones."""
    return F.sigmoid(beta * ratios.chosen_P) + 1 - F.sigmoid(beta * ratios.difference)


def sigmoid_norm(ratios: LogRatios, beta: float, _: float) -> Tensor:
    """−log σ(β(c/|y⁺| − r/|y⁻|))."""
    return -F.logsigmoid(beta * ratios.mean_difference)


LOSSES: dict[DpoLoss, Callable[[LogRatios, float, float], Tensor]] = {
    "sigmoid": sigmoid,
    "cdpo": cdpo,
    "robust": robust,
    "ipo": ipo,
    "hinge": hinge,
    "apo_zero": apo_zero,
    "apo_down": apo_down,
    "sigmoid_norm": sigmoid_norm,
}
