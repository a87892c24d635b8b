"""What people decided, as the result of a task, with the statistics that every task has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from luthier.evaluation.blind.decisions import BlindFile
from luthier.evaluation.pairwise import DecidedPair, are_equal, pairwise_result
from luthier.evaluation.recorded import RecordedRow
from luthier.evaluation.result import TaskResult
from luthier.evaluation.statistics.intervals import wilson

_WORDS = {"tie": "a tie", "both_bad": "both are bad"}


def decided_rows(file: BlindFile, rows: Sequence[RecordedRow]) -> list[DecidedPair]:
    """Drawn rows with who won them; undecided ones are left out, and none is there where nothing was decided at all.

    Equal answers are ties, as far as the person has come: all of them beside the first few decisions would outweigh those.
    """
    first, second = file.head.contenders
    shown = [number for number, row in enumerate(rows) if not are_equal(row, first, second)]
    decided = [number for number in shown if file.choice(number) != "undecided"]
    if shown and not decided:
        return []
    reached = len(rows) if len(decided) == len(shown) else max(decided) + 1
    pairs: list[DecidedPair] = []
    for number, row in enumerate(rows[:reached]):
        choice, winner = file.choice(number), file.winner(number)
        note = file.decisions[number].note if number in file.decisions else ""
        said = f": {note}" if note else ""
        if are_equal(row, first, second):
            pairs.append(DecidedPair(row, 0.5, "both answers say the same"))
        elif winner is not None:
            pairs.append(DecidedPair(row, float(winner == first), f"{winner} is better{said}"))
        elif choice != "undecided":
            pairs.append(DecidedPair(row, 0.5, f"{_WORDS[choice]}{said}"))
    return pairs


def blind_result(file: BlindFile, rows: Sequence[RecordedRow]) -> TaskResult:
    """The result; at least one row must be decided."""
    head = file.head
    first, second = head.contenders
    pairs = decided_rows(file, rows)
    equal = sum(are_equal(pair.row, first, second) for pair in pairs)
    counts = Counter(file.choice(number) for number, row in enumerate(rows) if not are_equal(row, first, second))
    decided = counts.total() - counts["undecided"]
    notes = [
        f"Decided by people who did not know whose answer was whose: {decided} of {counts.total()} rows, drawn from "
        f"{head.num_rows} with seed {head.seed}."
    ]
    if counts["both_bad"]:
        notes.append(f"Both answers were called bad on {counts['both_bad']} rows; they count as ties.")
    if equal:
        notes.append(f"Rows with equal answers: {equal}, ties that nobody was asked about.")
    if sided := counts["left"] + counts["right"]:
        share = wilson(counts["left"], sided)
        notes.append(
            f"The left answer won {100 * share.mean:.0f} % of the rows that were no tie (95 % interval {100 * share.low:.0f} to "
            f"{100 * share.high:.0f} %); each contender was on the left of half of those drawn."
        )
    record = {"counts": dict(counts), "num_equal_answers": equal, "seed": head.seed, "decisions": file.path.name}
    return pairwise_result(
        f"{head.task}.people-{second}",
        "people",
        (first, second),
        pairs,
        seconds=0.0,
        figures={"both_bad": counts["both_bad"]},
        notes=notes,
        record={"people": record},
    )
