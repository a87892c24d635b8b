"""An evaluation as Markdown, for a pull request or a note: summary.md beside summary.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from luthier.evaluation.contenders import title_of
from luthier.evaluation.result import Answer, TaskResult
from luthier.units import format_score, format_share

_WORST = 10
_LONGEST = 300


def task_markdown(result: TaskResult) -> str:
    """The whole of a task: contenders, differences, slices, what got worse."""
    blocks = [
        f"# {result.task}: {result.metric.replace('_', ' ')}, {result.num_rows} rows",
        _contenders(result),
        "\n".join(f"- {comparison.sentence()}" for comparison in result.comparisons()),
        _notes(result),
        _slices(result),
        _regressions(result),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _contenders(result: TaskResult) -> str:
    figures = list(dict.fromkeys(name for c in result.contenders for name in c.numbers()))
    header = ["contender", result.metric, "95 % interval", *figures, "ended by itself", "empty"]
    rows: list[list[str]] = []
    for contender in result.contenders:
        low, high = (format_score(x, is_share=result.is_share) for x in contender.mean[1:])
        own = contender.numbers()
        stopped = contender.share_stopped
        rows.append(
            [
                title_of(contender.name),
                f"**{format_score(contender.mean.mean, is_share=result.is_share)}**",
                f"{low} to {high}",
                *(f"{own[name]:.4g}" if name in own else "–" for name in figures),
                "–" if stopped is None else format_share(stopped),
                "–" if stopped is None else str(contender.num_empty),
            ]
        )
    return _table(header, rows)


def _notes(result: TaskResult) -> str:
    notes: list[str] = list(result.notes)
    if result.overlap is not None:
        told = (result.overlap.sentence, result.overlap.alike_sentence)
        notes += [words(result.task, result.num_rows) for words in told]
    notes += [f"Without these rows: {comparison.sentence()}" for comparison in result.clean_comparisons()]
    notes += [f"{title_of(c.name)}: {c.num_empty} empty answers." for c in result.contenders if c.num_empty]
    return "\n".join(f"- {note}" for note in notes if note)


def _slices(result: TaskResult) -> str:
    """Differences to the base model, shrunk: small groups are extreme by chance."""
    if "tuned" not in result or "base" not in result:
        return ""
    unit = " points" if result.is_share else ""

    def shown(value: float) -> str:
        return f"{100 * value:+.1f}" if result.is_share else f"{value:+.4g}"

    blocks: list[str] = []
    for name, groups in result.slice_differences("tuned", "base").items():
        rows = [
            [
                group,
                str(entry["num_rows"]),
                f"{shown(entry['mean'])}{unit}",
                f"{shown(entry['shrunk'])} ({shown(entry['low'])} to {shown(entry['high'])})",
            ]
            for group, entry in groups.items()
        ]
        blocks.append(f"## By {name}\n\n" + _table([name, "rows", "tuned − base", "shrunk, 95 % interval"], rows))
    return "\n\n".join(blocks)


def _regressions(result: TaskResult) -> str:
    """The rows that tuning made worse, the worst first."""
    if "tuned" not in result or "base" not in result:
        return ""
    sign = -1 if result.lower_is_better else 1
    pairs = zip(result["base"].answers, result["tuned"].answers, strict=True)
    losses = [(sign * (base.score.value - tuned.score.value), base, tuned) for base, tuned in pairs]
    worst = sorted((x for x in losses if x[0] > 0), key=lambda x: -x[0])
    if not worst:
        return "## Regressions\n\nNone: no row that the base model answers better."
    lines = [line for _, base, tuned in worst[:_WORST] for line in _example(base, tuned)]
    return f"## Regressions\n\n{len(worst)} rows that the base model answers better, the worst first:\n\n" + "\n".join(
        lines
    )


def _example(base: Answer, tuned: Answer) -> Iterable[str]:
    yield f"- **{base.row.id}** {_short(base.row.question)}"
    yield f"  - reference: {_short(base.row.reference)}"
    yield f"  - base ({base.score.value:.3g}): {_short(base.text)}"
    yield f"  - tuned ({tuned.score.value:.3g}): {_short(tuned.text)} ({_short(tuned.score.why)})"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return text.replace("|", "\\|").replace("<", "&lt;") or "(empty)"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
