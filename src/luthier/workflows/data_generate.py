"""`luthier data generate`: examples made by a model, from documents, rows or prompts, at a cost that is known before it starts.

Every answer is in OUT.journal.jsonl before it is used: the same command after a crash asks only what is missing. Rows that say
again what another says, and answers that are not as asked, go to OUT.dropped.jsonl with the reason. Every row that is written
says where it comes from. Rows from tables need no model: `workflows.data_generate_table`.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from luthier.data.generation.documents import cut_document, find_documents
from luthier.data.generation.from_documents import FromDocuments
from luthier.data.generation.from_seeds import FromSeeds
from luthier.data.generation.inputs import read_prompts, read_seeds
from luthier.data.generation.making import Aside, Made, Maker, Wishes
from luthier.data.generation.preference_pairs import LEAST_ANSWERS, PreferencePairs
from luthier.data.generation.repeated import repeated
from luthier.data.open_file import is_compressed
from luthier.data.write_rows import require_new, row_files
from luthier.errors import DataError, EndpointError, InputError, Interrupted
from luthier.generate.in_order import in_order
from luthier.generate.journal import Journal, Journalled
from luthier.reporter import Reporter, Silent
from luthier.types import Conversation
from luthier.workflows.data_dedup import dropped_path
from luthier.workflows.load_chat_model import ChatModelChoice

Kind = Literal["docs", "seeds", "preferences"]
DEFAULT_EACH: dict[Kind, int] = {"docs": 3, "seeds": 3, "preferences": 4}
DEFAULT_TEMPERATURE: dict[Kind, float] = {"docs": 0.7, "seeds": 0.9, "preferences": 1.0}
MOST_EACH = 50
_SILENT = Silent()


@dataclass(frozen=True)
class Estimate:
    """What making the examples takes, before anything is asked.

    Attributes:
        num_things: Pieces, seeds or prompts.
        num_questions: To the model (and the judge); one that is not answered as asked is asked once more.
        num_known: Of these, already in the journal (as far as they do not follow from answers).
        prompt_tokens: About; 4 characters each in Latin script.
        answer_tokens: About.
        answer_tokens_most: By the limits.
        cost: About, at the prices given; None without prices.
        cost_most: With the longest answers.
    """

    num_things: int
    num_questions: int
    num_known: int
    prompt_tokens: int
    answer_tokens: int
    answer_tokens_most: int
    cost: float | None
    cost_most: float | None


@dataclass(frozen=True)
class Prices:
    """Of a million tokens, in whatever money."""

    prompt: float
    answer: float

    def cost(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Of so many."""
        return (prompt_tokens * self.prompt + answer_tokens * self.answer) / 1e6


@dataclass(frozen=True)
class GenerateResult:
    """What was written.

    Attributes:
        path: The rows, each with where it comes from under "generated".
        dropped: What did not become a row: ``{"source", "rule", "reason", "row"}``.
        journal: All answers.
        kind: What examples were made from.
        model: Who answered.
        num_things: Pieces, seeds or prompts.
        num_written: Rows.
        aside: What was set aside, by rule.
        num_asked: Questions that were not in the journal.
        prompt_tokens: Of these, as the model counted them.
        answer_tokens: Likewise.
        cost: Of these; None without prices.
        num_contradictions: Times that the judge contradicted itself.
        estimate: As it was before.
    """

    path: Path
    dropped: Path
    journal: Path
    kind: Kind
    model: str
    num_things: int
    num_written: int
    aside: dict[str, int]
    num_asked: int
    prompt_tokens: int
    answer_tokens: int
    cost: float | None
    num_contradictions: int
    estimate: Estimate

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), **{name: str(getattr(self, name)) for name in ("path", "dropped", "journal")}}


@dataclass(frozen=True)
class Generation:
    """What is to be made, before anything is asked; from `plan_generation`.

    Attributes:
        kind: What examples are made from.
        path: The file to write.
        maker: Makes them.
        things: What they are made from.
        before: Rows that must not be said again.
        aside: Rows of the input that are not used.
        choice: Who is asked.
        judge: Who judges.
        journal: What is known.
        prices: Of tokens.
        estimate: What it takes.
    """

    kind: Kind
    path: Path
    maker: Maker[Any]
    things: Sequence[Any]
    before: Sequence[Conversation]
    aside: Sequence[Aside]
    choice: ChatModelChoice
    judge: ChatModelChoice
    journal: Journal
    prices: Prices | None
    estimate: Estimate


def journal_path(path: Path) -> Path:
    """``rows.jsonl`` → ``rows.journal.jsonl``."""
    inner = Path(path.stem) if is_compressed(path) else path
    return path.with_name(f"{inner.stem}.journal.jsonl")


def plan_generation(
    kind: Kind,
    names: Sequence[str | Path],
    path: Path,
    choice: ChatModelChoice,
    *,
    judge: ChatModelChoice | None = None,
    each: int | None = None,
    max_tokens: int = 1024,
    temperature: float | None = None,
    instruction: str = "",
    piece_characters: int = 4000,
    limit: int | None = None,
    prices: Prices | None = None,
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> Generation:
    """Read what examples are made from, and reckon what it takes.

    Args:
        kind: docs: questions and answers from documents. seeds: variations of rows. preferences: pairs of answers to prompts.
        names: Files, folders, patterns.
        path: The file to write: .jsonl, .json, or these with .gz.
        choice: Who is asked.
        judge: Who judges answers, of preferences; None for the same.
        each: Examples from each piece or seed; answers to each prompt. None for 3, 3, 4.
        max_tokens: Longest answer.
        temperature: How freely words are drawn; None for 0.7, 0.9, 1.0.
        instruction: What else to say to the model.
        piece_characters: Longest piece of a document.
        limit: Use only the first pieces, seeds or prompts.
        prices: For money.
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        InputError: A setting makes no sense, or a file cannot be made.
        DataError: What examples are to be made from cannot be read.
    """
    for new in (path, dropped_path(path)):
        require_new(new)
    wishes = Wishes(
        DEFAULT_EACH[kind] if each is None else each,
        max_tokens,
        DEFAULT_TEMPERATURE[kind] if temperature is None else temperature,
        instruction,
    )
    _require_sense(kind, wishes, piece_characters, limit)
    if judge is not None and kind != "preferences":
        raise InputError("--judge is for --from preferences; nothing else is judged.")
    reporter.stage("Read")
    before: Sequence[Conversation] = ()
    aside: Sequence[Aside] = ()
    maker: Maker[Any]
    if kind == "docs":
        pieces = [piece for document in find_documents(names) for piece in cut_document(document, piece_characters)]
        maker = FromDocuments(pieces, wishes)
    elif kind == "seeds":
        before, aside = read_seeds(names, columns or {}, reporter)
        maker = FromSeeds(before, wishes)
    else:
        prompts, aside = read_prompts(names, columns or {}, reporter)
        maker = PreferencePairs(prompts, wishes)
    things = maker.things[:limit]
    journal = Journal(journal_path(path))
    estimate = _estimate(maker, things, choice.model, journal, prices)
    return Generation(kind, path, maker, things, before, aside, choice, judge or choice, journal, prices, estimate)


def data_generate(plan: Generation, *, reporter: Reporter = _SILENT) -> GenerateResult:
    """Make the examples.

    Args:
        plan: From `plan_generation`.
        reporter: Told how far it is.

    Raises:
        EndpointError: Nobody answers; what was answered is in the journal.
        DataError: No row came of it; nothing is written but the journal.
        Interrupted: What was answered is in the journal.
    """
    model = Journalled(plan.choice.open(reporter), plan.journal)
    judge = model if plan.judge == plan.choice else Journalled(plan.judge.open(reporter), plan.journal)
    maker = plan.maker
    if isinstance(maker, PreferencePairs):
        maker = maker.judged_by(judge.ask)

    def make(thing: Any) -> Made:
        try:
            return maker.make(thing, model.ask)
        except EndpointError as error:
            if error.ends_all:
                raise
            return Made(aside=[Aside(_source(thing), "no_answer", str(error))])

    reporter.stage(f"Ask {plan.choice.model}")
    made: list[Made] = []
    reporter.progress("made from", 0, len(plan.things))
    try:
        with closing(in_order(make, plan.things, model.parallel)) as results:
            for one in results:
                made.append(one)
                detail = {"rows": sum(len(m.rows) for m in made), "set aside": sum(len(m.aside) for m in made)}
                reporter.progress("made from", len(made), len(plan.things), detail)
    except (KeyboardInterrupt, Interrupted) as stop:
        number = stop.signal_number if isinstance(stop, Interrupted) else signal.SIGINT
        raise Interrupted(number, f"Interrupted. {_saved(plan)}") from stop
    except EndpointError as error:
        raise EndpointError(f"{error}\n{_saved(plan)}", ends_all=True) from error
    finally:
        model.stop()
        judge.stop()
        plan.journal.close()
    return _write(plan, made, [*model.asked, *(judge.asked if judge is not model else ())])


def _write(plan: Generation, made: Sequence[Made], asked: Sequence[Any]) -> GenerateResult:
    rows = [row for one in made for row in one.rows]
    aside = [*plan.aside, *(aside for one in made for aside in one.aside)]
    places = [row["generated"]["source"] for row in rows]
    again = repeated([plan.maker.compared(row) for row in rows], plan.before)
    for number, earlier in again.items():
        what = f"row {earlier + 1} that was made" if earlier >= 0 else str(plan.before[-1 - earlier].source)
        aside.append(Aside(places[number], "says_it_again", f"nearly what {what} says", rows[number]))
    kept = [row for number, row in enumerate(rows) if number not in again]
    if not kept:
        raise DataError(_nothing_made(plan, aside))
    dropped = dropped_path(plan.path)
    with row_files([plan.path, dropped]) as (out, gone):
        for row in kept:
            out.write(row)
        for one in aside:
            gone.write(one.to_json())
    prompt_tokens = sum(answer.prompt_tokens for answer in asked)
    answer_tokens = sum(answer.answer_tokens for answer in asked)
    return GenerateResult(
        plan.path,
        dropped,
        plan.journal.path,
        plan.kind,
        plan.choice.model,
        len(plan.things),
        len(kept),
        dict(Counter(one.rule for one in aside).most_common()),
        len(asked),
        prompt_tokens,
        answer_tokens,
        plan.prices.cost(prompt_tokens, answer_tokens) if plan.prices else None,
        sum(one.num_contradictions for one in made),
        plan.estimate,
    )


def _estimate(
    maker: Maker[Any], things: Sequence[Any], model: str, journal: Journal, prices: Prices | None
) -> Estimate:
    costs = [maker.cost(thing) for thing in things]
    prompt, answer, most = (
        sum(getattr(cost, name) for cost in costs) for name in ("prompt_tokens", "answer_tokens", "answer_tokens_most")
    )
    known = sum(journal.find(model, question) is not None for cost in costs for question in cost.questions)
    return Estimate(
        len(things),
        sum(cost.num_questions for cost in costs),
        known,
        prompt,
        answer,
        most,
        prices.cost(prompt, answer) if prices else None,
        prices.cost(prompt, most) if prices else None,
    )


def _require_sense(kind: Kind, wishes: Wishes, piece_characters: int, limit: int | None) -> None:
    least = LEAST_ANSWERS if kind == "preferences" else 1
    if not least <= wishes.each <= MOST_EACH:
        raise InputError(f"--each is {wishes.each}; it must be {least} to {MOST_EACH}.")
    if not 0 <= wishes.temperature <= 2:
        raise InputError(f"--temperature is {wishes.temperature:g}; it must be 0 to 2.")
    if kind == "preferences" and wishes.temperature == 0:
        raise InputError(
            "--temperature 0 gives the same answer each time; pairs need answers that differ, for example 1."
        )
    if wishes.max_tokens < 16:
        raise InputError(f"--max-tokens is {wishes.max_tokens}; no answer fits into less than 16.")
    if piece_characters < 200:
        raise InputError(f"--piece-characters is {piece_characters}; a piece of text has at least 200.")
    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}; it must be at least 1.")


def _source(thing: Any) -> str:
    return str(thing.source)


def _saved(plan: Generation) -> str:
    num = len(plan.journal)
    answers = "1 answer is" if num == 1 else f"{num:,} answers are"
    return f"{answers} in {plan.journal.path}; the same command goes on from there. {plan.path} is not written yet."


def _nothing_made(plan: Generation, aside: Sequence[Aside]) -> str:
    counts = Counter((one.rule, one.reason) for one in aside)
    reasons = "\n".join(f"  {count:>5} × {rule}: {reason}" for (rule, reason), count in counts.most_common(5))
    example = next((one.row["answer"] for one in aside if isinstance(one.row, dict) and one.row.get("answer")), None)
    shown = f"\nFor example it said: {example[:300]!r}" if example else ""
    return (
        f"No row came of {len(plan.things)} things; {plan.path} is not written. Reasons:\n{reasons}{shown}\n"
        "A larger model, or a longer --max-tokens, may do better; look at one with --limit 1."
    )
