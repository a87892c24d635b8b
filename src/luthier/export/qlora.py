"""After QLoRA an adapter can be merged into two models: the base's own weights, or what its 4-bit numbers stand for.

The adapter was trained beside the second, and made good for some of its errors; the first is the better model without it. Which
is nearer to what was trained is measured, not assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from luthier.export.agreement import Agreement, compare
from luthier.export.changes import StoredInNf4
from luthier.export.peft_folder import PeftFolder
from luthier.export.subject import Live, Subject


def on_stored_base(adapter: PeftFolder, linear: frozenset[str], stored: StoredInNf4) -> PeftFolder:
    """The adapter on a base whose linear layers are stored in 4 bits; those that it does not adapt are changed, too."""
    changes = {name: (stored, *adapter.changes.get(name, ())) for name in sorted(linear)}
    return replace(adapter, changes={**adapter.changes, **changes})


@dataclass(frozen=True)
class Candidates:
    """Both, held against the live model.

    Attributes:
        own: Merged into the base's own weights.
        nf4: Merged into what the 4-bit numbers stand for.
    """

    own: Agreement
    nf4: Agreement

    @property
    def takes_nf4(self) -> bool:
        """Whether that is nearer to what was trained."""
        return self.nf4.kl <= self.own.kl

    def sentence(self) -> str:
        """Both figures, and what follows."""
        parts = [
            f"{words}: KL {each.kl:.2g}" + ("" if each.perplexity is None else f", perplexity {each.perplexity:.4g}")
            for words, each in (("the base's own weights", self.own), ("the de-quantised NF4 base", self.nf4))
        ]
        taken = "the de-quantised NF4 base" if self.takes_nf4 else "the base's own weights"
        live = "" if self.own.perplexity_live is None else f" (live model: perplexity {self.own.perplexity_live:.4g})"
        return f"Trained beside an NF4 base. Merged into {'; into '.join(parts)}{live}. Taken: {taken}."

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"own": self.own.to_json(), "nf4": self.nf4.to_json(), "taken": "nf4" if self.takes_nf4 else "own"}


def measure_candidates(live: Live, own: Subject, nf4: Subject) -> Candidates:
    """Build both in memory, one after the other, and compare.

    Args:
        live: Of the model that was trained: 4-bit base with its adapter.
        own: Planned on the base's own weights.
        nf4: Planned on the de-quantised ones.
    """
    expected = live.predictions
    found: list[Agreement] = []
    for subject, name in ((own, "on the base's weights"), (nf4, "on the NF4 base")):
        model = subject.merge_in_memory()
        found.append(compare(expected, live.predict_with(model, name)))
        del model
    return Candidates(*found)
