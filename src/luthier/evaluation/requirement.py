"""Gates in one line: "sql.accuracy >= base + 0.2". What a continuous integration asks of a run, as an exit code.

    requirement   side (>= | > | <= | <) side
    side          item, or items with + and − between them (a minus has a space before it: names may hold dashes)
    item          a number (0.2, 20%) · a name · lower(…) · upper(…)
    name          task.metric: the tuned model's · base, fewshot, or another contender: the same metric of it
    lower(…)      lower end of the 95 % interval of a name, or of a paired difference: lower(sql.accuracy - base) >= 0.1

Every requirement names one task.metric. `score` is any task's metric, `accuracy` too where it is a share of right answers.
A point estimate that meets a gate may do so by luck; lower(…) asks for what the data show.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from luthier.errors import InputError
from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.protocol import Task
from luthier.evaluation.result import TaskResult
from luthier.evaluation.statistics.intervals import Interval
from luthier.evaluation.statistics.paired import paired_difference

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<percent>\s*%)?(?![\w.])|(?P<name>[^\W\d][\w.@-]*|\d[\w.@-]*"
    r"\.[\w.@-]+)|(?P<sign>>=|<=|[-+−()<>≥≤]))"
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
_SAME_SIGN = {"≥": ">=", "≤": "<=", "−": "-"}
_CONTENDERS: dict[str, ContenderName] = {
    "base": "base",
    "fewshot": "few_shot",
    "few_shot": "few_shot",
    "tuned": "tuned",
}
_BOUNDS = ("lower", "upper")
_EXAMPLE = 'such as "sql.accuracy >= base + 0.2" or "lower(sql.accuracy - base) >= 0.1"'


class _Term(NamedTuple):
    """A signed item of a side: a number, a contender, or a bound of contenders (first, and what is subtracted)."""

    sign: int
    number: float | None = None
    contender: ContenderName | None = None
    bound: str | None = None
    minus: ContenderName | None = None


class Verdict(NamedTuple):
    """Whether a requirement is met, with both numbers."""

    text: str
    left: float
    right: float
    met: bool

    def sentence(self) -> str:
        """For people."""
        word = "met" if self.met else "NOT met"
        return f"{word}: {self.text} (left {self.left:.4f}, right {self.right:.4f})"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"requirement": self.text, "left": self.left, "right": self.right, "met": self.met}


@dataclass(frozen=True)
class Requirement:
    """A parsed requirement; `check_names` before the run, `judge` after it."""

    text: str
    task: str
    metric: str
    left: tuple[_Term, ...]
    compare: str
    right: tuple[_Term, ...]

    @property
    def contenders(self) -> set[ContenderName]:
        """All that it names."""
        found: set[ContenderName] = set()
        for term in (*self.left, *self.right):
            found |= {name for name in (term.contender, term.minus) if name is not None}
        return found

    def check_names(self, tasks: Sequence[Task]) -> None:
        """Whether the tasks to come can answer it.

        Raises:
            InputError: There is no such task, metric or contender among them.
        """
        task = next((task for task in tasks if task.name == self.task), None)
        if task is None:
            names = ", ".join(t.name for t in tasks)
            raise InputError(
                f"--require \"{self.text}\": there is no task '{self.task}' in this evaluation, only: {names}."
            )
        known = [task.scorer.metric, *task.scorer.figures, *(f"pass@{k}" for k in task.generation.pass_at)]
        aliases = ["score", *(["accuracy"] if task.scorer.is_share else [])]
        if self.metric not in (*known, *aliases):
            raise InputError(
                f"--require \"{self.text}\": the task {self.task} measures no '{self.metric}', but: {', '.join(known)}."
            )
        if "few_shot" in self.contenders and not task.few_shot():
            raise InputError(
                f'--require "{self.text}": the task {self.task} has no examples, so there is no contender fewshot. Give it '
                "some (examples: 4), or compare with base."
            )

    def judge(self, results: Mapping[str, TaskResult]) -> Verdict:
        """Whether it is met by the results of its task.

        Raises:
            InputError: An interval is asked of a figure that has none, or a contender has no result.
        """
        result = results[self.task]
        if absent := sorted(name for name in self.contenders if name not in result):
            raise InputError(f'--require "{self.text}": {", ".join(absent)} gave no answers to {self.task}.')
        left, right = (sum(t.sign * self._value(t, result) for t in side) for side in (self.left, self.right))
        return Verdict(self.text, left, right, _COMPARE[self.compare](left, right))

    def _value(self, term: _Term, result: TaskResult) -> float:
        if term.number is not None:
            return term.number
        assert term.contender is not None
        if term.bound is None:
            return _point(result, self.metric, term.contender)
        interval = _interval(result, self.metric, term.contender, term.minus)
        if interval is None:
            raise InputError(
                f'--require "{self.text}": {self.metric} is worked out over all rows and has no interval, so it has no '
                f"{term.bound}(…). Compare its value."
            )
        return interval.low if term.bound == "lower" else interval.high


def _is_main(result: TaskResult, metric: str) -> bool:
    return metric == result.metric or metric == "score" or (metric == "accuracy" and result.is_share)


def _point(result: TaskResult, metric: str, contender: ContenderName) -> float:
    found = result[contender]
    if metric in found.measures:
        return found.measures[metric].mean
    if metric in found.figures:
        return float(found.figures[metric])
    if _is_main(result, metric):
        return found.mean.mean
    raise InputError(f"The task {result.task} has no '{metric}' for {contender}: no row of it gives one.")


def _interval(
    result: TaskResult, metric: str, contender: ContenderName, minus: ContenderName | None
) -> Interval | None:
    found = result[contender]
    if metric in found.measures:
        if minus is None:
            return found.measures[metric]
        sides = [[a.score.measures[metric] for a in result[name].answers] for name in (contender, minus)]
        return paired_difference(*sides)
    if metric in found.figures or not _is_main(result, metric):
        return None
    return found.mean if minus is None else result.comparison(contender, minus).difference


def parse_requirement(text: str, others: Collection[ContenderName] = ()) -> Requirement:
    """Read one.

    Args:
        text: As it was typed.
        others: Further contenders that may be named.

    Raises:
        InputError: It is no requirement; says what was expected where.
    """
    parser = _Parser(text, others)
    left = tuple(parser.side())
    compare = parser.take("a comparison (>=, >, <=, <)", *_COMPARE)
    right = tuple(parser.side())
    parser.end()
    if len(parser.figures) != 1:
        named = ", ".join(sorted(parser.figures)) or "none"
        raise InputError(f'--require "{text}" must name one task.metric, and names {named}; {_EXAMPLE}.')
    task, _, metric = parser.figures.pop().rpartition(".")
    return Requirement(text, task, metric, left, compare, right)


class _Parser:
    """Reads tokens from left to right; `figures` collects what is named as task.metric."""

    def __init__(self, text: str, others: Collection[ContenderName]) -> None:
        self._text, self._others = text, others
        self._tokens = list(self._split(text))
        self._at = 0
        self.figures: set[str] = set()

    def _split(self, text: str) -> Iterator[tuple[str, str]]:
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                self._fail(f"'{text[position:].strip()[:20]}' cannot be read")
            position = match.end()
            if match["number"] is not None:
                yield "number", match["number"] + ("%" if match["percent"] else "")
            elif match["name"] is not None:
                yield "name", match["name"]
            else:
                yield "sign", _SAME_SIGN.get(match["sign"], match["sign"])

    def _fail(self, problem: str) -> NoReturn:
        raise InputError(f'--require "{self._text}": {problem}. It is a comparison, {_EXAMPLE}.')

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else "the end"

    def take(self, wanted: str, *signs: str) -> str:
        """The next token, which must be one of `signs`."""
        found = self._peek()
        if self._at >= len(self._tokens) or found not in signs:
            self._fail(f"expected {wanted}, found {found}")
        self._at += 1
        return found

    def end(self) -> None:
        """Nothing may follow."""
        if self._at < len(self._tokens):
            self._fail(f"'{self._peek()}' stands behind a whole comparison")

    def side(self) -> Iterator[_Term]:
        """Items with signs."""
        sign = 1
        if self._peek() == "-":
            self._at += 1
            sign = -1
        yield self._item(sign)
        while self._peek() in ("+", "-"):
            sign = 1 if self._peek() == "+" else -1
            self._at += 1
            yield self._item(sign)

    def _item(self, sign: int) -> _Term:
        if self._at >= len(self._tokens):
            self._fail("something is missing at its end")
        kind, token = self._tokens[self._at]
        if kind == "number":
            self._at += 1
            return _Term(sign, number=float(token.rstrip("%")) / (100 if token.endswith("%") else 1))
        if kind == "name" and token in _BOUNDS:
            self._at += 1
            self.take("( behind it", "(")
            first, minus = self._name(), None
            if self._peek() == "-":
                self._at += 1
                minus = self._name()
            self.take(")", ")")
            return _Term(sign, contender=first, bound=token, minus=minus)
        return _Term(sign, contender=self._name())

    def _name(self) -> ContenderName:
        kind, token = self._tokens[self._at] if self._at < len(self._tokens) else ("end", "the end")
        if kind != "name":
            self._fail(f"expected a name or a number, found {token}")
        self._at += 1
        if token in _CONTENDERS:
            return _CONTENDERS[token]
        if token in self._others:
            return token
        if "." not in token.strip("."):
            known = ", ".join(["base, fewshot, tuned", *self._others])
            self._fail(f"'{token}' is neither task.metric nor one of {known}")
        self.figures.add(token)
        return "tuned"
