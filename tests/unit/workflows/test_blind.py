"""Blind comparisons: the draw, the decisions on the disk, going on, and the result with the statistics of every task."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.app import main
from luthier.errors import DataError, InputError
from luthier.evaluation.blind.session import BlindSession
from luthier.runs.folder import RunFolder
from luthier.workflows.blind import blind_path, blind_results, plan_blind
from luthier.workflows.judge import judge_answers, plan_judging
from luthier.workflows.load_chat_model import ChatModelChoice
from tests.evaluated_run import evaluated_run
from tests.fake_openai import Mood, fake_openai


def answers(name: str, number: int) -> str:
    return "equal" if number in (3, 4) else f"{name} says {number}"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return evaluated_run(tmp_path / "runs" / "mine", answers, num_rows=40)


def decide_for(session: BlindSession, winners: dict[int, str]) -> None:
    """Decide rows by their numbers in the task, as a person does who knows better than the page."""
    for row in session.content()["rows"]:
        number = int(row["asked"].removeprefix("q"))
        wanted = winners.get(number)
        if wanted in ("tie", "both_bad"):
            session.decide({"number": row["number"], "choice": wanted, "note": ""})
        elif wanted is not None:
            side = "left" if row["left"].startswith(wanted) else "right"
            session.decide({"number": row["number"], "choice": side, "note": f"because {number}"})


def test_sides_are_drawn_with_the_seed_in_balance_and_give_nobody_away(run: RunFolder, tmp_path: Path) -> None:
    session = plan_blind(run.path, num_rows=20, seed=7)
    drawn = session.file.head.rows
    assert Counter(row.left for row in drawn) == {"tuned": 10, "base": 10}
    assert len({row.id for row in drawn}) == 20
    sides = [row.left for row in drawn]
    assert sides != ["tuned", "base"] * 10
    again = evaluated_run(tmp_path / "again", answers, num_rows=40)
    assert plan_blind(again.path, num_rows=20, seed=7).file.head.rows == drawn
    third = evaluated_run(tmp_path / "third", answers, num_rows=40)
    assert plan_blind(third.path, num_rows=20, seed=8).file.head.rows != drawn
    anonymous = evaluated_run(tmp_path / "x", lambda name, i: f"{'AB'[name == 'base']}{i}", num_rows=40)
    content = json.dumps(plan_blind(anonymous.path).content())
    assert "tuned" not in content
    assert "base" not in content


def test_what_is_decided_is_on_the_disk_and_is_gone_on_with(run: RunFolder) -> None:
    session = plan_blind(run.path, num_rows=40)
    assert len(session.shown) == 38  # the equal answers are nobody's question
    first, second = session.shown[:2]
    session.decide({"number": first, "choice": "left", "note": " why "})
    session.decide({"number": second, "choice": "tie"})
    assert session.undo()["decision"]["choice"] == "undecided"
    path = blind_path(run, "numbers", "base")
    assert [json.loads(line)["choice"] for line in path.read_text().splitlines()[1:]] == ["left", "tie", "undecided"]
    path.write_text(path.read_text() + '{"number": 5, "cho')  # the machine stopped while writing
    again = plan_blind(run.path)
    state = again.content()
    assert state["summary"]["num_decided"] == 1
    assert state["rows"][0]["decision"]["note"] == "why"
    again.decide({"number": second, "choice": "right"})
    assert plan_blind(run.path).num_left == 36
    assert plan_blind(run.path).undo()["decision"] == {
        "number": second,
        "choice": "undecided",
        "note": "",
        "at": plan_blind(run.path).file.decisions[second].at,
    }
    settings: list[dict[str, Any]] = [{"num_rows": 30}, {"seed": 5}]
    for options in settings:
        with pytest.raises(InputError, match="that goes on"):
            plan_blind(run.path, **options)


@pytest.mark.parametrize(
    "wish",
    [None, {}, {"number": 99, "choice": "left"}, {"number": True, "choice": "left"}, {"number": 0, "choice": "best"},
     {"number": 0, "choice": "left", "note": "x" * 5000}, {"number": 0, "choice": "left", "note": "\ud800"},
     {"number": 0, "choice": "left", "note": 5}],
)  # fmt: skip
def test_nonsense_decides_nothing(run: RunFolder, wish: Any) -> None:
    session = plan_blind(run.path)
    with pytest.raises(InputError):
        session.decide(wish)
    assert len(blind_path(run, "numbers", "base").read_text().splitlines()) == 1


def test_the_result_is_one_like_any_other(run: RunFolder) -> None:
    session = plan_blind(run.path, num_rows=40)
    # 20 rows won, 6 lost, 2 ties, 1 both bad, 2 equal, 9 undecided.
    winners = dict.fromkeys(range(10, 30), "tuned") | dict.fromkeys(range(30, 36), "base")
    winners |= {0: "tie", 1: "tie", 2: "both_bad"}
    decide_for(session, winners)
    result = blind_results(session, run.path)
    assert (result.task, result.metric, result.num_rows) == ("numbers.people-base", "win_rate", 31)
    assert result["tuned"].mean.mean == pytest.approx((20 + 2.5) / 31)
    (comparison,) = result.comparisons()
    assert comparison.difference.mean == pytest.approx((20 - 6) / 31)
    assert comparison.verdict == "better"
    assert result["tuned"].figures == {"wins": 20, "ties": 5, "both_bad": 1}
    summary = run.read_json("evaluation/numbers.people-base/summary.json")
    assert summary["people"]["counts"]["both_bad"] == 1
    assert summary["people"]["counts"]["undecided"] == 9
    assert "Decided by people who did not know whose answer was whose: 29 of 38 rows" in summary["notes"][0]
    lines = list(run.read_lines("evaluation/numbers.people-base/rows.jsonl"))
    assert any(line["why"].startswith("tuned is better: because") for line in lines)
    assert "win rate" in (run / "report.html").read_text()


def test_people_tell_how_far_a_judge_can_be_believed(run: RunFolder) -> None:
    session = plan_blind(run.path, num_rows=40)
    decide_for(session, dict.fromkeys(range(10, 20), "tuned") | dict.fromkeys(range(20, 30), "base"))
    session.close()

    def judge() -> dict[str, Any]:
        with fake_openai(lambda a: Mood('{"better": "%s"}' % ("A" if "A:\ntuned" in a.said else "B"))) as server:
            (task,) = judge_answers(plan_judging(run.path, "numbers", ChatModelChoice("j", server.url))).tasks
        return task.to_json()["judge"]["agreement"]

    found = judge()  # the judge always prefers tuned, people in half of the cases
    assert (found["num_rows"], found["share_equal"]) == (20, 0.5)
    assert found["kappa"]["mean"] == pytest.approx(0)


def test_other_answers_than_those_decided_on_are_refused(run: RunFolder, tmp_path: Path) -> None:
    plan_blind(run.path).close()
    other = evaluated_run(tmp_path / "other", lambda name, i: f"{name} now says {i}", num_rows=40)
    (run / "evaluation/numbers/rows.jsonl").write_bytes((other / "evaluation/numbers/rows.jsonl").read_bytes())
    with pytest.raises(DataError, match="evaluated anew"):
        plan_blind(run.path)


def test_what_is_wrong_is_told(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, words in [
        ({"num_rows": 0}, "1 to 1000"),
        ({"against": "nobody"}, "neither a contender of numbers"),
        ({"task": "letters"}, "There is no task"),
    ]:
        with pytest.raises(InputError, match=words):
            plan_blind(run.path, **options)
    assert main(["blind", str(run.path), "--results", "--json"]) == 2
    blind_path(run, "numbers", "base").unlink()
    assert "Nothing is decided" in json.loads(capsys.readouterr().out)["error"]["message"]
    blind_path(run, "numbers", "base").write_text("nonsense\n")
    with pytest.raises(DataError, match="no comparison of luthier blind"):
        plan_blind(run.path)


def test_results_by_command(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    session = plan_blind(run.path, num_rows=40)
    decide_for(session, dict.fromkeys(range(10, 36), "tuned"))
    session.close()
    assert main(["blind", str(run.path), "--results"]) == 0
    captured = capsys.readouterr()
    assert "tuned is better" in captured.out
    assert f"Next:   luthier blind {run.path} base" in captured.out
    assert "decide the 12 rows that are left" in captured.out
