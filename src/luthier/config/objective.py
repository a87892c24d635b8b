"""What is optimised. One class per objective, told apart by `name`; a new objective adds a class to the union."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from luthier.config.section import Section

ReferenceChoice = Literal["cached", "live"]


class SftSection(Section):
    """Supervised fine-tuning: negative log-likelihood of the trained tokens."""

    name: Literal["sft"] = "sft"
    """sft: learn to give the answers of the data. pretrain: learn texts. dpo, orpo, simpo, cpo: learn from pairs of a better and
    a worse answer. kto: learn from answers labelled good or bad."""

    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each target that goes to all tokens alike; keeps the model from becoming too sure. Not in validation, which
    measures the plain likelihood."""


class PretrainSection(Section):
    """Continual pre-training: every token of running text (a column text, txt and md files)."""

    name: Literal["pretrain"]
    """pretrain: learn texts, every token of them."""

    overlap_tokens: int = Field(default=1, ge=1)
    """Tokens that a later piece of a long document repeats of the piece before it, as context that is not learnt again. Pieces
    are data.max_length tokens long; documents never see each other."""


class DpoSection(Section):
    """Direct preference optimisation (Rafailov et al. 2023) and its variants, against a reference model."""

    name: Literal["dpo"]
    """dpo: learn from pairs of a better and a worse answer, against the model before training."""

    loss: Literal["sigmoid", "cdpo", "robust", "ipo", "hinge", "apo_zero", "apo_down", "sigmoid_norm"] = "sigmoid"
    """sigmoid: DPO. cdpo, robust: some labels are wrong (label_smoothing). ipo: bounded margin, per token. hinge: SLiC. apo_zero,
    apo_down: the chosen answers are better, or worse, than the model's own. sigmoid_norm: per token, no reward for length."""

    beta: float = Field(default=0.1, gt=0)
    """How much a nat of log-ratio counts. The smaller, the farther from the reference; sigmoid_norm wants about 5."""

    label_smoothing: float = Field(default=0.0, ge=0.0, lt=0.5)
    """Share of pairs that are taken to be labelled the wrong way round; for cdpo and robust."""

    sft_weight: float = Field(default=0.0, ge=0.0)
    """Weight of imitating the chosen answers beside (RPO): keeps their probability from falling."""

    reference: ReferenceChoice = "cached"
    """The model before training. cached: its log-probabilities are computed once, before the first step, and kept on disk. live:
    computed at every step, by switching the adapter off, or by a frozen copy in full fine-tuning."""

    @model_validator(mode="after")
    def _smoothing_has_its_losses(self) -> Self:
        smooths = self.loss in ("cdpo", "robust")
        if smooths and not self.label_smoothing:
            raise ValueError(f"loss: {self.loss} needs label_smoothing above 0; without it, it is sigmoid.")
        if self.label_smoothing and not smooths:
            raise ValueError(
                f"label_smoothing has no effect on loss: {self.loss}. Use cdpo or robust, or leave it out."
            )
        return self


class OrpoSection(Section):
    """Odds-ratio preference optimisation (Hong et al. 2024): imitation and preference in one, without a reference model."""

    name: Literal["orpo"]
    """orpo: imitate the better answers, and push the odds of the worse ones down."""

    weight: float = Field(default=0.1, gt=0)
    """Weight of the odds-ratio term beside imitation (the paper's λ)."""


class SimpoSection(Section):
    """Simple preference optimisation (Meng et al. 2024): log-probability per token as reward, without a reference model."""

    name: Literal["simpo"]
    """simpo: learn from pairs by their log-probability per token."""

    beta: float = Field(default=2.0, gt=0)
    """How much a nat per token counts."""

    gamma: float = Field(default=1.0, ge=0.0)
    """Margin that the better answer's reward shall have."""

    sft_weight: float = Field(default=0.0, ge=0.0)
    """Weight of imitating the chosen answers beside."""


class CpoSection(Section):
    """Contrastive preference optimisation (Xu et al. 2024): DPO without a reference model, with imitation."""

    name: Literal["cpo"]
    """cpo: learn from pairs without a reference, held in place by imitating the better answers."""

    loss: Literal["sigmoid", "hinge"] = "sigmoid"
    """Of the difference of log-probabilities."""

    beta: float = Field(default=0.1, gt=0)
    """How much a nat of difference counts."""

    sft_weight: float = Field(default=1.0, ge=0.0)
    """Weight of imitating the chosen answers (the paper's α)."""

    label_smoothing: float = Field(default=0.0, ge=0.0, lt=0.5)
    """Share of pairs that are taken to be labelled the wrong way round; for sigmoid."""

    @model_validator(mode="after")
    def _hinge_is_not_smoothed(self) -> Self:
        if self.label_smoothing and self.loss == "hinge":
            raise ValueError("label_smoothing has no effect on loss: hinge. Use sigmoid, or leave it out.")
        return self


class KtoSection(Section):
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024): answers labelled good or bad, against a reference model."""

    name: Literal["kto"]
    """kto: learn from single answers with a label, against the model before training."""

    beta: float = Field(default=0.1, gt=0)
    """How much a nat of log-ratio counts."""

    good_weight: float = Field(default=1.0, gt=0)
    """Weight of good answers. With fewer good than bad ones, raise it to about bad / good."""

    bad_weight: float = Field(default=1.0, gt=0)
    """Weight of bad answers."""

    reference: ReferenceChoice = "cached"
    """The model before training. cached: its log-probabilities are computed once, before the first step, and kept on disk. live:
    computed at every step, by switching the adapter off, or by a frozen copy in full fine-tuning."""


ObjectiveSection = Annotated[
    SftSection | PretrainSection | DpoSection | OrpoSection | SimpoSection | CpoSection | KtoSection,
    Field(discriminator="name"),
]
