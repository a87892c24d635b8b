"""Answers that were generated before are not generated again: evaluation/cache/answers.jsonl in the run folder.

An answer is found again by all that decides it: the weights' fingerprint, the prompt's tokens, every setting of the request,
and the versions of torch and transformers. So a run that was trained on, or a base model that was exchanged under its name,
finds nothing. Lines are only appended; of several with one key the last counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from luthier.errors import RunError
from luthier.generate.protocol import Completion, Engine, Request


class AnswerCache:
    """The file with its answers.

    Args:
        path: May not exist yet.
        fresh: Find nothing; what is generated is kept all the same.

    Attributes:
        hits: Answers found so far.
        misses: Answers that had to be generated.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._path = path
        self._answers: dict[str, Completion] = {} if fresh else _read(path)
        self.hits = 0
        self.misses = 0

    def find(self, key: str) -> Completion | None:
        """An answer by its key."""
        return self._answers.get(key)

    def keep(self, answers: dict[str, Completion]) -> None:
        """Add answers, and write them down at once."""
        self._answers |= answers
        append_lines(self._path, ({"key": key, **asdict(answer)} for key, answer in answers.items()))


class CachedEngine:
    """An engine that answers from the cache what it can.

    Args:
        engine: Answers the rest.
        cache: Where answers are kept.
        fingerprint: Of the weights that answer, by `Request.use_adapter`; asked once for each that occurs.
        adapters: Fingerprints of further adapters (with their base), by `Request.adapter`.
    """

    def __init__(
        self,
        engine: Engine,
        cache: AnswerCache,
        fingerprint: Callable[[bool], str],
        adapters: Mapping[str, str] | None = None,
    ) -> None:
        self._engine, self._cache, self._fingerprint = engine, cache, fingerprint
        self._adapters = {} if adapters is None else adapters  # may grow later

    def generate(
        self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """Answer all, in the order of the requests; equal ones are answered once."""
        voices = {(request.use_adapter, request.adapter) for request in requests}
        prints = {v: self._fingerprint(v[0]) if v[1] is None else self._adapters[v[1]] for v in voices}
        keys = [request_key(request, prints[request.use_adapter, request.adapter]) for request in requests]
        missing = {key: request for key, request in zip(keys, requests, strict=True) if self._cache.find(key) is None}
        num_found = sum(key not in missing for key in keys)
        if on_progress is not None and num_found:
            on_progress(num_found)
        if missing:
            answers = self._engine.generate(list(missing.values()), on_progress)
            self._cache.keep(dict(zip(missing, answers, strict=True)))
        self._cache.hits += num_found
        self._cache.misses += len(missing)
        return [found for key in keys if (found := self._cache.find(key)) is not None]


def request_key(request: Request, fingerprint: str) -> str:
    """A hash of everything that decides an answer."""
    parts = {
        "weights": fingerprint,
        "prompt": request.prompt_ids,
        "max_new_tokens": request.max_new_tokens,
        "stop": sorted(request.stop_ids),
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "versions": [version("torch"), version("transformers")],
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _read(path: Path) -> dict[str, Completion]:
    if not path.is_file():
        return {}
    answers: dict[str, Completion] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                break  # cut off by a crash
            try:
                content = json.loads(line)
                answers[content["key"]] = Completion(
                    tuple(content["token_ids"]), tuple(content["logprobs"]), content["finish_reason"]
                )
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(
                    f"{path}:{number} is damaged ({error}). Delete the file, or measure with --fresh: answers are then "
                    "generated again."
                ) from error
    return answers


def append_lines(path: Path, contents: Iterable[Mapping[str, Any]]) -> None:
    """Add lines of JSON to a file that a crash may have cut off, or begin it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_cut_line(path)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(content) + "\n" for content in contents)


def _drop_cut_line(path: Path) -> None:
    """Take away a line that a crash cut off: nothing may be written behind it."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
