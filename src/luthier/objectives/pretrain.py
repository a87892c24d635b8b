"""Continual pre-training: the negative log-likelihood of every token of running text.

The mathematics is that of supervised fine-tuning; what differs is the rows: documents, of which every token is learnt.
"""

from __future__ import annotations

from luthier.data.row_kinds import RowKind
from luthier.objectives.sft import Sft


class Pretrain(Sft):
    """Negative log-likelihood per token of documents."""

    name = "pretrain"
    needs: RowKind = "documents"
