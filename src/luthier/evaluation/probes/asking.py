"""Lets contenders go on from tokens, greedily."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.evaluation.contenders import Contender, title_of
from luthier.generate.protocol import Completion, Request
from luthier.reporter import Reporter


def can_be_probed(contender: Contender) -> bool:
    """Whether it answers tokens of the run's own template, without worked examples."""
    return contender.engine is not None and contender.template is None and not contender.examples


def continue_all(
    contender: Contender,
    prompts: Sequence[Sequence[int]],
    lengths: Sequence[int],
    stop_ids: frozenset[int],
    name: str,
    reporter: Reporter,
) -> list[Completion]:
    """The most probable continuation of each prompt, at most so long."""
    assert contender.engine is not None
    title, done = f"{name}: {title_of(contender.name)}", 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        reporter.progress(title, done, len(prompts))

    requests = [
        Request(tuple(prompt), length, stop_ids, use_adapter=contender.use_adapter, adapter=contender.adapter)
        for prompt, length in zip(prompts, lengths, strict=True)
    ]
    return contender.engine.generate(requests, advance)
