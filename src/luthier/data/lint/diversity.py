"""Finds: prompts of few kinds, groups that hold more than half of the prompts or answers, and prompts that hardly
another one is like: edge cases with too few rows.

Hurts: the model learns what is frequent. What has three rows among thousands is not learnt, and of what repeats a few
templates the first hundred rows teach all there is; more of them only teach it by heart.
Do: collect more of what is thin (twenty rows are a beginning), drop strays that are not meant, and let new rows be new
kinds.

Looked at is a random sample of at most 2,000 rows, the same whatever their order. What belongs together is told by
words alone (`luthier.data.clusters`), so that nothing has to be downloaded: other words for the same thing count as
another thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

from luthier.data.hash_sample import HashSample
from luthier.data.lint.row import ALL_KINDS, Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, finding, shown
from luthier.types import Finding, Severity, Source
from luthier.units import format_share

if TYPE_CHECKING:
    from luthier.data.clusters import Clusters

MOST_SAMPLED = 2000
_KEPT_CHARACTERS = 3000
_LEAST_ROWS = 100
_FEW_KINDS = 20
_LARGE_SHARE = 0.5
_LEAST_ANSWER_CHARACTERS = 40
"""Where the median answer is shorter, answers are labels, and there are few kinds of them by nature."""
_NUM_EXAMPLES = 3
_EXAMPLE_CHARACTERS = 160


@dataclass(frozen=True)
class Example:
    """A typical text of a topic, shortened, and its place."""

    text: str
    source: Source | None


@dataclass(frozen=True)
class Topic:
    """Texts about like things: their share of the sample, the words that set them apart, the most typical ones."""

    num_sampled: int
    share: float
    words: tuple[str, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Diversity:
    """What a sample of prompts or answers is about.

    Attributes:
        of: What was grouped.
        num_sampled: Size of the sample.
        effective: How many wholly different texts would be as diverse.
        topics: The largest first.
        edge: Texts that hardly another one is like, where most have many like them.
    """

    of: Literal["prompts", "answers"]
    num_sampled: int
    effective: float
    topics: tuple[Topic, ...]
    edge: tuple[Example, ...]


class DiversityRule:
    """The rule."""

    name = "diversity"
    severity: Severity = "note"
    kinds: Kinds = ALL_KINDS
    looks_at = "what prompts and answers are about, in a sample"

    def start(self) -> DiversityPass:
        """A fresh pass."""
        return DiversityPass(self)


class _Sampled(NamedTuple):
    number: int
    prompt: str
    answer: str


class DiversityPass:
    """Keeps a sample; `describe` groups it."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._sample: HashSample[_Sampled] = HashSample(MOST_SAMPLED)
        self._grouped: list[tuple[Literal["prompts", "answers"], list[_Sampled], list[str], Clusters]] | None = None

    def see(self, row: LintRow) -> None:
        """The next row."""
        key = row.content_hash
        if self._sample.wants(key):
            prompt = (row.prompts or row.whole)[:_KEPT_CHARACTERS]
            answer = "" if row.kind in ("text", "classification") else row.answered[:_KEPT_CHARACTERS]
            self._sample.add(key, _Sampled(row.number, prompt, answer))

    def findings(self, places: Places) -> Iterable[Finding]:
        """Few kinds, a group that outweighs all others, edge cases."""
        for of, sampled, texts, clusters in self._groups():
            if of == "prompts" and clusters.groups and clusters.effective < _FEW_KINDS:
                yield finding(
                    self._rule,
                    (),
                    0,
                    f"Prompts are of few kinds: {len(texts):,} different ones are, by their words, only as diverse as "
                    f"{clusters.effective:.0f} that share nothing. More of the same teach little.",
                    "Fine for a narrow task; else collect other kinds of questions before more of these.",
                    ", ".join(clusters.groups[0].words),
                )
            if clusters.groups and clusters.groups[0].size > _LARGE_SHARE * len(texts):
                yield self._large(of, sampled, texts, clusters, places)
            if of == "prompts" and clusters.edge:
                yield self._edge(sampled, texts, clusters, places)

    def describe(self, places: Places) -> tuple[Diversity, ...]:
        """Topics with examples, of prompts and of answers; none where there are too few rows."""
        return tuple(
            Diversity(
                of,
                len(texts),
                clusters.effective,
                tuple(
                    Topic(
                        group.size,
                        group.size / len(texts),
                        group.words,
                        self._examples(group.members, sampled, texts, places),
                    )
                    for group in clusters.groups
                ),
                self._examples(clusters.edge, sampled, texts, places, 2 * _NUM_EXAMPLES),
            )
            for of, sampled, texts, clusters in self._groups()
            if clusters.groups
        )

    def _groups(self) -> list[tuple[Literal["prompts", "answers"], list[_Sampled], list[str], Clusters]]:
        if self._grouped is None:
            from luthier.data.clusters import cluster_texts  # numpy: only where it is used

            self._grouped = []
            sampled = self._sample.values()
            prompts = [row.prompt for row in sampled]
            if len(prompts) >= _LEAST_ROWS:
                self._grouped.append(("prompts", sampled, prompts, cluster_texts(prompts)))
            answered = [row for row in sampled if row.answer]
            answers = [row.answer for row in answered]
            if len(answers) >= _LEAST_ROWS and median(map(len, answers)) >= _LEAST_ANSWER_CHARACTERS:
                self._grouped.append(("answers", answered, answers, cluster_texts(answers)))
        return self._grouped

    def _large(
        self, of: str, sampled: Sequence[_Sampled], texts: Sequence[str], clusters: Clusters, places: Places
    ) -> Finding:
        group = clusters.groups[0]
        return finding(
            self._rule,
            places.first([sampled[i].number for i in group.members]),
            0,
            f"{format_share(group.size / len(texts))} of the {of} are about one thing ({', '.join(group.words)}); "
            f"{len(clusters.groups) - 1} other groups share the rest, and the model learns them so much less.",
            "Fine if you will ask in these proportions; else collect more of the others.",
            texts[group.members[0]],
        )

    def _edge(self, sampled: Sequence[_Sampled], texts: Sequence[str], clusters: Clusters, places: Places) -> Finding:
        numbers = sorted(sampled[i].number for i in clusters.edge)
        estimate = (
            f" (about {len(numbers) * len(places) // len(texts):,} of all rows)" if len(places) > 2 * len(texts) else ""
        )
        return finding(
            self._rule,
            places.first(numbers),
            len(numbers),
            f"{len(numbers):,} of {len(texts):,} prompts looked at have hardly one like them, while most have "
            f"many{estimate}: "
            f"edge cases, too thin to be learnt (words: {', '.join(clusters.edge_words) or 'none in common'}).",
            "Collect more like them (twenty of each kind are a beginning), or drop those that are strays.",
            texts[clusters.edge[0]],
        )

    def _examples(
        self,
        members: Sequence[int],
        sampled: Sequence[_Sampled],
        texts: Sequence[str],
        places: Places,
        most: int = _NUM_EXAMPLES,
    ) -> tuple[Example, ...]:
        return tuple(
            Example(shown(texts[i], _EXAMPLE_CHARACTERS), next(iter(places.first([sampled[i].number])), None))
            for i in members[:most]
        )


RULE: Rule = DiversityRule()
