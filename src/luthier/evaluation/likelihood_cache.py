"""Probabilities that were measured before are not measured again: evaluation/cache/likelihoods.jsonl in the run folder.

A text is found again by the weights' fingerprint, its tokens and those before it, and the versions of torch and transformers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from luthier.errors import RunError
from luthier.evaluation.answer_cache import append_lines
from luthier.evaluation.likelihood import Continuation, Likelihoods
from luthier.evaluation.protocol import Likelihood


class LikelihoodCache:
    """The file with log-probabilities.

    Args:
        path: May not exist yet.
        fresh: Find nothing; what is measured is kept all the same.

    Attributes:
        hits: Texts found so far.
        misses: Texts that had to be measured.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._path = path
        self._logprobs: dict[str, float] = {} if fresh else _read(path)
        self.hits = 0
        self.misses = 0

    def find(self, key: str) -> float | None:
        """A log-probability by its key."""
        return self._logprobs.get(key)

    def keep(self, logprobs: dict[str, float]) -> None:
        """Add some, and write them down at once."""
        self._logprobs |= logprobs
        append_lines(self._path, ({"key": key, "logprob": value} for key, value in logprobs.items()))


class CachedLikelihoods:
    """Measures what the cache does not have.

    Args:
        likelihoods: Measures the rest.
        cache: Where numbers are kept.
        fingerprint: Of the weights, by ``use_adapter``.
    """

    def __init__(self, likelihoods: Likelihoods, cache: LikelihoodCache, fingerprint: Callable[[bool], str]) -> None:
        self._likelihoods, self._cache, self._fingerprint = likelihoods, cache, fingerprint

    def measure(
        self,
        continuations: Sequence[Continuation],
        *,
        use_adapter: bool = True,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Likelihood]:
        """Log p of each text."""
        weights = self._fingerprint(use_adapter)
        keys = [likelihood_key(each, weights) for each in continuations]
        missing = {k: each for k, each in zip(keys, continuations, strict=True) if self._cache.find(k) is None}
        num_found = sum(key not in missing for key in keys)
        if on_progress is not None and num_found:
            on_progress(num_found)
        if missing:
            measured = self._likelihoods.measure(
                list(missing.values()), use_adapter=use_adapter, on_progress=on_progress
            )
            self._cache.keep({key: found.logprob for key, found in zip(missing, measured, strict=True)})
        self._cache.hits += num_found
        self._cache.misses += len(missing)
        found = [self._cache.find(key) for key in keys]
        return [
            Likelihood(each.text, logprob, len(each.ids), each.num_bytes)
            for each, logprob in zip(continuations, found, strict=True)
            if logprob is not None
        ]


def likelihood_key(continuation: Continuation, fingerprint: str) -> str:
    """A hash of everything that decides a probability."""
    parts = [
        fingerprint,
        continuation.context_ids,
        continuation.ids,
        version("torch"),
        version("transformers"),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    found: dict[str, float] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                break  # cut off by a crash
            try:
                content = json.loads(line)
                found[content["key"]] = float(content["logprob"])
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(
                    f"{path}:{number} is damaged ({error}). Delete the file, or measure with --fresh: all is then measured again."
                ) from error
    return found
