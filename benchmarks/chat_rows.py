"""Generated chat rows with the lengths of ordinary instruction data: many short, a long tail, some of several turns."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

_SUBJECTS = [
    "the ledger",
    "a violin",
    "the harbour",
    "this recipe",
    "the schedule",
    "a turbine",
    "the garden",
    "an old map",
]
_VERBS = ["describe", "compare", "repair", "summarise", "explain", "improve", "measure", "arrange"]
_DETAILS = [
    "in plain words",
    "for a beginner",
    "with one example",
    "as a short list",
    "without technical terms",
    "for a colleague who was away",
    "with the reasons",
]
_SENTENCES = [
    "Begin with what is known and write down what is not.",
    "The first step takes longer than people expect, and that is fine.",
    "A small change in one place often shows up somewhere else.",
    "Keep the old version until the new one has been tried.",
    "Numbers help, but only when everybody knows what they count.",
    "Most of the effort goes into the part that nobody sees.",
    "If two people disagree, let them measure the same thing first.",
    "It is easier to remove a rule than to add one later.",
    "What matters in the end is whether it still works next year.",
]


def chat_rows(num_rows: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows in OpenAI messages form; answer lengths are log-normal (median about 60 tokens, a few over 400)."""
    rng = random.Random(seed)
    for number in range(num_rows):
        messages = []
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            question = f"Please {rng.choice(_VERBS)} {rng.choice(_SUBJECTS)} {rng.choice(_DETAILS)}, case {number}."
            if rng.random() < 0.3:
                question += " Background: " + " ".join(rng.choices(_SENTENCES, k=rng.randint(2, 9)))
            length = max(1, min(36, round(rng.lognormvariate(1.6, 0.8))))
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": " ".join(rng.choices(_SENTENCES, k=length))})
        yield {"messages": messages}
