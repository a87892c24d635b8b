"""Examples from a server with moods: what becomes a row, what is set aside, and that nothing is asked twice."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.app import main
from luthier.errors import DataError, EndpointError, InputError
from luthier.generate import endpoint as endpoint_module
from luthier.types import Message
from luthier.workflows.data_generate import Generation, Kind, Prices, data_generate, plan_generation
from luthier.workflows.load_chat_model import ChatModelChoice
from tests.fake_openai import Asked, FakeOpenAI, Mood, fake_openai
from tests.tiny import save_tiny_model

# Distinct words, so that no two rows are nearly the same.
WORDS = (
    "amber birch cedar dune ember fjord grove heath islet jetty knoll lagoon marsh nook oasis pond quarry reef " * 3
).split()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "FIRST_PAUSE_SECONDS", 0.01)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def guide(folder: Path, num: int = 6) -> Path:
    """A document of `num` pieces when it is cut at 300 characters."""
    parts = [f"# Part {WORDS[i]}\n\n" + f"The {WORDS[i]} of rule {i} is {WORDS[-1 - i]} " * 6 for i in range(num)]
    (folder / "guide.md").write_text("\n\n".join(parts))
    return folder / "guide.md"


def part_of(asked: Asked) -> int:
    """Which piece a question is about."""
    return int(re.search(r"of rule (\d+)", asked.body["messages"][0]["content"])[1])  # pyright: ignore


def pairs(part: int, num: int = 1) -> str:
    items = [
        {
            "question": f"What is the {WORDS[part + 7 * j]} {part} {j} known for among sailors of the north?",
            "answer": f"It is {WORDS[part + 3 * j]} number {part}{j}, that all who came by {WORDS[part + 1]} have told of.",
        }
        for j in range(num)
    ]
    return json.dumps({"examples": items})


def good(asked: Asked) -> Mood:
    return Mood(pairs(part_of(asked)))


def plan(
    kind: Kind, source: Path, out: Path, server: FakeOpenAI | None, model: str = "m", parallel: int = 2, **settings: Any
) -> Generation:
    choice = ChatModelChoice(model, None if server is None else server.url, "NO_SUCH_KEY", parallel=parallel)
    return plan_generation(kind, [source], out, choice, **settings)


def docs(source: Path, out: Path, server: FakeOpenAI, **settings: Any) -> Generation:
    return plan("docs", source, out, server, **{"each": 1, "piece_characters": 300, **settings})


def test_documents_become_rows_that_say_where_they_come_from(tmp_path):
    with fake_openai(lambda asked: Mood(pairs(part_of(asked), 2))) as server:
        result = data_generate(docs(guide(tmp_path), tmp_path / "o.jsonl", server, each=2, instruction="Be brief."))
        assert all("Be brief." in asked.said for asked in server.asked)
    rows = read(tmp_path / "o.jsonl")
    assert (result.num_written, result.num_asked, len(rows)) == (12, 6, 12)
    origin = rows[0]["generated"]
    assert {**origin, "at": ""} == {
        "from": "docs",
        "source": f"{tmp_path}/guide.md",
        "piece": 1,
        "model": "fake-1",
        "prompt": "question_answer/1",
        "at": "",
    }
    assert [row["generated"]["piece"] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert [message["role"] for message in rows[0]["messages"]] == ["user", "assistant"]
    assert (result.prompt_tokens, result.answer_tokens) == (60, 30)
    assert main(["data", "check", str(tmp_path / "o.jsonl"), "--json", "--fail-on", "never"]) == 0


def test_nonsense_is_asked_once_more_then_set_aside(tmp_path):
    def moods(asked: Asked) -> Mood:
        part = part_of(asked)
        if part == 1 or (part == 2 and len(asked.body["messages"]) == 1):
            return Mood("I would rather talk about boats.")
        return Mood('{"examples": [{"question": "Why?"}]}') if part == 3 else good(asked)

    with fake_openai(moods) as server:
        result = data_generate(docs(guide(tmp_path), tmp_path / "o.jsonl", server))
        assert len(server.asked) == 6 + 3
    assert result.num_written == 4
    aside = {entry["source"].rpartition("#")[2]: entry for entry in read(tmp_path / "o.dropped.jsonl")}
    assert aside.keys() == {"2", "4"}
    assert aside["2"]["rule"] == "answer_not_as_asked"
    assert aside["2"]["reason"] == "it holds no valid JSON"
    assert aside["2"]["row"] == {"answer": "I would rather talk about boats."}
    assert 'example 1 has no text under "answer"' in aside["4"]["reason"]


def test_what_is_said_again_is_set_aside(tmp_path):
    with fake_openai(lambda asked: Mood(pairs(part_of(asked) // 2))) as server:
        result = data_generate(docs(guide(tmp_path), tmp_path / "o.jsonl", server))
    assert (result.num_written, result.aside) == (3, {"says_it_again": 3})
    assert read(tmp_path / "o.dropped.jsonl")[0]["reason"] == "nearly what row 1 that was made says"


def test_servers_with_moods_change_nothing_of_what_comes_out(tmp_path):
    source, seen = guide(tmp_path), set()

    def moody(asked: Asked) -> Mood:
        part, is_first = part_of(asked), part_of(asked) not in seen
        seen.add(part)
        first = {
            0: Mood("slow down", 429, {"Retry-After": "0.2"}),
            1: Mood("oops", 500),
            2: Mood(hang_seconds=1.2),
            3: Mood(good(asked).text, missing_bytes=9),
        }
        return first[part] if is_first and part in first else good(asked)

    with fake_openai(good) as server:
        data_generate(docs(source, tmp_path / "calm.jsonl", server))
    with fake_openai(moody) as server:
        choice = ChatModelChoice("m", server.url, "NO_SUCH_KEY", timeout_seconds=0.5, parallel=3)
        data_generate(plan_generation("docs", [source], tmp_path / "o.jsonl", choice, each=1, piece_characters=300))
        assert len(server.asked) == 10
    texts = [[row["messages"] for row in read(tmp_path / name)] for name in ("calm.jsonl", "o.jsonl")]
    assert texts[0] == texts[1]


def test_a_second_run_asks_nothing_and_writes_the_same(tmp_path):
    source = guide(tmp_path)
    with fake_openai(good) as server:
        data_generate(docs(source, tmp_path / "o.jsonl", server))
        first = (tmp_path / "o.jsonl").read_bytes()
        (tmp_path / "o.jsonl").unlink()
        (tmp_path / "o.dropped.jsonl").unlink()
        again = docs(source, tmp_path / "o.jsonl", server)
        assert again.estimate.num_known == again.estimate.num_questions == 6
        result = data_generate(again)
        assert len(server.asked) == 6
    assert (result.num_asked, result.num_written) == (0, 6)
    assert (tmp_path / "o.jsonl").read_bytes() == first


def test_one_question_that_is_refused_does_not_end_the_others_and_is_asked_again(tmp_path):
    source, refuse = guide(tmp_path), [True]
    with fake_openai(
        lambda asked: Mood("blocked", 400) if refuse[0] and part_of(asked) == 4 else good(asked)
    ) as server:
        result = data_generate(docs(source, tmp_path / "o.jsonl", server))
        assert result.aside == {"no_answer": 1}
        assert "answered 400: blocked" in read(tmp_path / "o.dropped.jsonl")[0]["reason"]
        refuse[0] = False
        for name in ("o.jsonl", "o.dropped.jsonl"):
            (tmp_path / name).unlink()
        assert data_generate(docs(source, tmp_path / "o.jsonl", server)).num_written == 6
        assert len(server.asked) == 7


def test_a_server_that_goes_away_leaves_the_journal_and_no_half_file(tmp_path):
    source = guide(tmp_path)
    with fake_openai(lambda asked: good(asked) if asked.number <= 2 else Mood("bad key", 401)) as server:
        with pytest.raises(EndpointError, match=r"key is missing or wrong(.|\n)*2 answers are in .*o.journal.jsonl"):
            data_generate(docs(source, tmp_path / "o.jsonl", server, parallel=1))
        assert sorted(p.name for p in tmp_path.glob("o*")) == ["o.journal.jsonl"]
    with fake_openai(good) as server:
        assert data_generate(docs(source, tmp_path / "o.jsonl", server)).num_written == 6
        assert len(server.asked) == 4
    choice = ChatModelChoice("m", "http://127.0.0.1:9", "NO_SUCH_KEY")
    nobody = plan_generation("docs", [source], tmp_path / "p.jsonl", choice)
    with pytest.raises(EndpointError, match=r"cannot be reached(.|\n)*0 answers"):
        data_generate(nobody)


def test_no_row_at_all_is_an_error_with_reasons(tmp_path):
    with fake_openai(lambda _: Mood("Ahoy!")) as server, pytest.raises(DataError) as caught:
        data_generate(docs(guide(tmp_path), tmp_path / "o.jsonl", server))
    assert "6 × answer_not_as_asked: it holds no valid JSON" in str(caught.value)
    assert "Ahoy!" in str(caught.value)
    assert not (tmp_path / "o.jsonl").exists()


def command(source: Path, out: Path, url: str, *more: str) -> list[str]:
    options = ("--from", "docs", "--endpoint", url, "--model", "m", "--each", "1", "--piece-characters", "300", "--yes")
    return [sys.executable, "-m", "luthier", "data", "generate", str(out), str(source), *options, *more]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_in_the_middle_it_goes_on_and_nothing_is_answered_twice(tmp_path, how):
    source, out, gate = guide(tmp_path, 9), tmp_path / "o.jsonl", threading.Event()

    def moods(asked: Asked) -> Mood:
        if not gate.is_set() and part_of(asked) >= 4:  # the first run never hears of these
            gate.wait(20)
            return Mood(good(asked).text, missing_bytes=20)
        return good(asked)

    with fake_openai(moods) as server:
        process = subprocess.Popen(command(source, out, server.url), stderr=subprocess.PIPE, text=True)
        journal = tmp_path / "o.journal.jsonl"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not (journal.exists() and len(journal.read_bytes().splitlines()) == 5):
            time.sleep(0.05)
        process.send_signal(how)
        _, err = process.communicate(timeout=15)
        gate.set()
        assert process.returncode == (-9 if how is signal.SIGKILL else 128 + how)
        assert sorted(p.name for p in tmp_path.glob("*o.*")) == ["o.journal.jsonl"]
        if how is not signal.SIGKILL:
            assert re.search(r"[34] answers are in", err)  # the last may be on the disk, and not yet counted
            assert "Traceback" not in err
        done = subprocess.run(
            command(source, out, server.url, "--json"), capture_output=True, text=True, timeout=60, check=True
        )
        assert json.loads(done.stdout)["num_written"] == 9
        assert json.loads(done.stdout)["num_asked"] == 5
        assert set(server.answered.values()) == {1}
        assert len(server.answered) == 9


def test_a_journal_that_was_cut_off_goes_on_and_another_file_is_refused(tmp_path):
    source = guide(tmp_path)
    with fake_openai(good) as server:
        data_generate(docs(source, tmp_path / "o.jsonl", server))
        for name in ("o.jsonl", "o.dropped.jsonl"):
            (tmp_path / name).unlink()
        journal = tmp_path / "o.journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-30])
        assert data_generate(docs(source, tmp_path / "o.jsonl", server)).num_asked == 1
        assert all(json.loads(line) for line in journal.read_text().splitlines())
        (tmp_path / "p.journal.jsonl").write_text('{"question": "x", "answer": "y"}\n')
        with pytest.raises(DataError, match="no journal of answers"):
            docs(source, tmp_path / "p.jsonl", server)


SEEDS = [
    {
        "system": "Be kind.",
        "question": "How far is the moon from here on a clear night?",
        "answer": "Far, about 384,000 km.",
    },
    {"question": "Who painted the ceiling of the chapel in Rome?", "answer": "Michelangelo, lying on his back."},
]


def variations(*texts: tuple[str, str]) -> Mood:
    items = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in texts]
    return Mood(json.dumps({"examples": items}))


def test_seeds_are_varied_and_not_said_again(tmp_path):
    source = tmp_path / "seeds.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in SEEDS))

    def moods(asked: Asked) -> Mood:
        if "moon" in asked.said:
            return variations(
                ("How large is the sun?", "Very large, 1.4 million km."),
                (SEEDS[0]["question"] + "!", SEEDS[0]["answer"]),
            )
        if len(asked.body["messages"]) == 1:
            bad = [{"role": "assistant", "content": "I begin."}]
            return Mood(json.dumps({"examples": [{"messages": bad}]}))
        return variations(("Who built the bridge?", "A mason from the next village."))

    with fake_openai(moods) as server:
        result = data_generate(plan("seeds", source, tmp_path / "o.jsonl", server, each=2))
        assert "example 1 has the roles assistant; wanted were user, assistant" in server.asked[-1].said
    first, second = read(tmp_path / "o.jsonl")
    assert first["messages"][0] == {"role": "system", "content": "Be kind."}
    assert first["generated"]["source"] == f"{source}:1"
    assert second["messages"][0]["content"] == "Who built the bridge?"
    assert result.aside == {"says_it_again": 1}
    assert f"nearly what {source}:1 says" in read(tmp_path / "o.dropped.jsonl")[0]["reason"]


def judge(better: Callable[[str], int]) -> Callable[[Asked], Mood]:
    """Draws answers by seed, scores them by `better`, and compares them likewise."""

    def moods(asked: Asked) -> Mood:
        said = asked.said
        if "Answer A:" in said:
            first, second = re.findall(r"Answer [AB]:\n(.*)\n", said)
            return Mood(json.dumps({"better": "A" if better(first) > better(second) else "B", "reason": "x"}))
        if "Answer to judge:" in said:
            answer = re.search(r"Answer to judge:\n(.*)\n", said)[1]  # pyright: ignore
            return Mood(json.dumps({"score": better(answer), "reason": "x"}))
        return Mood(f"Reply {asked.body['seed']}")

    return moods


def test_pairs_are_drawn_and_judged_in_both_orders(tmp_path):
    source = tmp_path / "prompts.jsonl"
    source.write_text('{"prompt": "Name a river of the north."}\n{"prompt": "  "}\n')
    with fake_openai(judge(lambda answer: 3 + 2 * int(answer[-1]))) as server:
        made = plan("preferences", source, tmp_path / "o.jsonl", server, each=3)
        result = data_generate(made)
        assert len(server.asked) == made.estimate.num_questions == 3 + 3 + 2
    (row,) = read(tmp_path / "o.jsonl")
    assert row["prompt"] == [{"role": "user", "content": "Name a river of the north."}]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"], row["margin"]) == ("Reply 2", "Reply 0", 4)
    assert row["generated"]["scores"] == [7, 3]
    assert result.aside == {"prompt_not_used": 1}
    code = main(["data", "check", str(tmp_path / "o.jsonl"), "--json", "--fail-on", "never"])
    assert code == 0


@pytest.mark.parametrize(
    ("moods", "rule"),
    [
        (judge(lambda _: 5), "judge_sees_no_difference"),
        (lambda asked: Mood("Always the same") if "judge" not in asked.said else Mood("{}"), "answers_do_not_differ"),
        (
            lambda asked: (
                Mood('{"better": "A"}') if "Answer A:" in asked.said else judge(lambda a: 1 + int(a[-1]))(asked)
            ),
            "judge_contradicts_itself",
        ),
        (
            lambda asked: Mood("Both are nice") if "Answer" in asked.said else judge(lambda _: 1)(asked),
            "answer_not_as_asked",
        ),
    ],
)
def test_what_no_judge_can_tell_apart_is_set_aside(tmp_path, moods, rule):
    source = tmp_path / "prompts.jsonl"
    source.write_text('{"prompt": "Name a river."}\n')
    with fake_openai(moods) as server, pytest.raises(DataError, match=rule):
        data_generate(plan("preferences", source, tmp_path / "o.jsonl", server, each=3))


def test_prompts_come_from_conversations_too_and_another_model_may_judge(tmp_path):
    source = tmp_path / "chats.jsonl"
    turns = [
        ("user", "Hi there, who are you?"),
        ("assistant", "A lamp."),
        ("user", "Since when?"),
        ("assistant", "1920."),
    ]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    source.write_text(json.dumps(row) + "\n")
    with fake_openai(judge(lambda answer: 1 + int(answer[-1]))) as server:
        choice = ChatModelChoice("m", server.url, "NO_SUCH_KEY")
        other = ChatModelChoice("wise", server.url, "NO_SUCH_KEY")
        data_generate(plan_generation("preferences", [source], tmp_path / "o.jsonl", choice, judge=other, each=2))
        models = [asked.body["model"] for asked in server.asked]
    assert models == ["m", "m", "wise", "wise", "wise", "wise"]
    (row,) = read(tmp_path / "o.jsonl")
    assert [m["content"] for m in row["prompt"]] == ["Hi there, who are you?", "A lamp.", "Since when?"]


def test_what_it_takes_is_said_before(tmp_path, capsys):
    source = guide(tmp_path)
    with fake_openai(good) as server:
        made = docs(source, tmp_path / "o.jsonl", server, max_tokens=100, prices=Prices(2.0, 10.0))
        estimate = made.estimate
        assert (estimate.num_things, estimate.num_questions, estimate.answer_tokens_most) == (6, 6, 600)
        characters = sum(len(made.maker.cost(thing).questions[0].messages[0].content) for thing in made.things)
        assert estimate.prompt_tokens == pytest.approx(characters / 4, rel=0.05)
        assert estimate.cost_most == pytest.approx((2 * estimate.prompt_tokens + 10 * 600) / 1e6)
        arguments = command(source, tmp_path / "o.jsonl", server.url)[3:-1]
        assert main([*arguments, "--estimate", "--json", "--price-in", "2", "--price-out", "10"]) == 0
        assert json.loads(capsys.readouterr().out)["estimate"]["num_questions"] == 6
        assert main(arguments) == 2  # nobody is there to confirm it
        shown = capsys.readouterr().err
        assert "6 questions about 6 things" in shown
        assert "add --yes" in shown
        assert not server.asked
        assert main([*arguments, "--yes", "--limit", "2", "--price-in", "2", "--price-out", "10", "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert len(server.asked) == content["num_asked"] == 2
        assert content["cost"] == pytest.approx((20 * 2 + 10 * 10) / 1e6)
        assert content["estimate"]["num_things"] == 2


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("docs", {"each": 0}, "--each is 0"),
        ("preferences", {"each": 1}, "--each is 1; it must be 2"),
        ("preferences", {"temperature": 0.0}, "the same answer each time"),
        ("docs", {"temperature": 3.0}, "--temperature is 3"),
        ("docs", {"max_tokens": 3}, "--max-tokens"),
        ("docs", {"limit": 0}, "--limit"),
        ("docs", {"piece_characters": 10}, "--piece-characters"),
        ("docs", {"judge": ChatModelChoice("j")}, "--judge is for"),
    ],
)
def test_settings_without_sense(tmp_path, kind, settings, expected):
    with pytest.raises(InputError, match=expected):
        plan(kind, guide(tmp_path), tmp_path / "o.jsonl", None, **settings)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--from", "docs"], "--model NAME"),
        (["--from", "table"], "needs --template"),
        (["--from", "table", "--template", "{}", "--model", "x"], "asks no model"),
        (["--from", "docs", "--template", "{}"], "--template is for"),
        (["--from", "docs", "--model", "m", "--price-in", "1"], "both prices"),
        (["--from", "docs", "--model", "m", "--per-minute", "3"], "are for endpoints"),
        (["--from", "docs", "--model", "m", "--timeout", "3"], "are for endpoints"),
        (["--from", "seeds", "--model", "m", "--piece-characters", "300"], "--piece-characters is for --from docs"),
        (["--from", "table", "--template", "{}", "--each", "3", "--estimate"], "leave away: --each, --estimate"),
    ],
)
def test_command_lines_without_sense(tmp_path, capsys, arguments, expected):
    assert main(["data", "generate", str(tmp_path / "o.jsonl"), str(guide(tmp_path)), *arguments]) == 2
    assert expected in capsys.readouterr().err


def test_the_key_is_sent_and_written_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    with fake_openai(good) as server:
        choice = ChatModelChoice("m", server.url, "MY_KEY")
        data_generate(
            plan_generation("docs", [guide(tmp_path)], tmp_path / "o.jsonl", choice, each=1, piece_characters=300)
        )
        assert {asked.headers["Authorization"] for asked in server.asked} == {"Bearer sk-very-secret"}
    assert all(b"sk-very-secret" not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_model_on_this_machine_answers_many_at_once(tmp_path):
    from luthier.data.asking import Question
    from luthier.generate.in_order import in_order
    from luthier.reporter import Silent

    folder = save_tiny_model(tmp_path / "model")
    chat = ChatModelChoice(str(folder), parallel=8).open(Silent())
    questions = [Question((Message("user", f"What is {word}?"),), 12, 0.8, seed) for seed, word in enumerate(WORDS[:8])]
    together = [answer.text for answer in in_order(chat.ask, questions, 8)]
    alone = [chat.ask(question).text for question in questions]
    assert together == alone
    assert len(set(together)) > 1
    answer = chat.ask(questions[0])
    assert (answer.model, answer.was_cut) == (str(folder), answer.answer_tokens == 12)
    with pytest.raises(EndpointError, match="takes 512") as caught:
        chat.ask(Question((Message("user", "x " * 2000),), 12))
    assert not caught.value.ends_all


def test_a_model_on_this_machine_that_cannot_do_it(tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    made = plan("docs", guide(tmp_path), tmp_path / "o.jsonl", None, str(folder), max_tokens=16, piece_characters=200)
    with pytest.raises(DataError, match=r"no_answer: The question has .* tokens, .* takes 512"):
        data_generate(made)


@pytest.mark.slow
def test_a_model_on_this_machine_is_interrupted_in_the_middle_of_an_answer(tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1_000_000}))
    run = [sys.executable, "-m", "luthier", "data", "generate", str(tmp_path / "o.jsonl"), str(guide(tmp_path))]
    run += ["--from", "docs", "--model", str(folder), "--max-tokens", "500000", "--temperature", "1"]
    process = subprocess.Popen(run, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Ask "):
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(r"Interrupted. \d answers? (is|are) in", err)
    assert "terminate" not in err
    assert "Traceback" not in err
