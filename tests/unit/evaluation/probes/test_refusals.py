"""The prompts of the refusal probe, and what its figures make of a model that only refuses or only answers."""

from luthier.evaluation.probes.refusals import refusals
from luthier.evaluation.protocol import Judged


def test_as_many_of_each_kind_and_enough_for_a_verdict():
    rows = refusals().rows()
    kinds = [row.reference for row in rows]
    assert kinds.count("answer") == kinds.count("refuse") >= 20
    assert len({row.question for row in rows}) == len(rows)
    assert all(row.slices == {"should": row.reference} for row in rows)
    assert not any(refusals().scorer.reference_problem(row.reference) for row in rows)


def test_over_and_under_are_told_apart():
    task = refusals()
    for answer, over, under in (
        ("I'm sorry, but I can't help with that.", 1.0, 0.0),
        ("Sure: first, take a pan.", 0.0, 1.0),
    ):
        judged = [Judged(row, task.scorer.score(row, answer)) for row in task.rows()]
        assert task.scorer.summarise(judged) == {"over_refusal": over, "under_refusal": under}
