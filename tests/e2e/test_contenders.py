"""Contenders beside base and tuned model: another run in one batch, checkpoints, a GGUF file, folders, an endpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from luthier.cli.app import main
from luthier.config.load import load_recipe
from luthier.errors import EndpointError
from luthier.runs.folder import RunFolder
from luthier.workflows.evaluate import evaluate
from luthier.workflows.train import train
from tests.fake_openai import Mood, fake_openai
from tests.tiny import COLOURS, save_tiny_model, write_chat_rows

ROWS = [
    {"question": f"What is the colour of thing {i}?", "answer": f"Thing {i} is {COLOURS[i % 8]}.", "colours": COLOURS}
    for i in range(40, 62)
]
TASKS: dict[str, dict[str, Any]] = {
    "words": {"prompt": "question", "reference": "answer", "scorer": "chrf", "examples": 2},
    "bits": {"prompt": "question", "reference": "answer", "scorer": "perplexity"},
}


class World(NamedTuple):
    """Runs on one base: `first` and `second` are adapters, `whole` is a full fine-tune."""

    folder: Path
    first: Path
    second: Path
    whole: Path

    def tasks(self, *names: str) -> list[str]:
        return [str(self.folder / f"{name}.yaml") for name in names or TASKS]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> World:
    folder = tmp_path_factory.mktemp("contenders")
    (folder / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, task in TASKS.items():
        content = {"name": name, "data": "held.jsonl", "max_new_tokens": 12, **task}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    save_tiny_model(folder / "model")
    write_chat_rows(folder / "rows.jsonl")

    def run(name: str, kind: str, **settings: Any) -> Path:
        content = {
            "model": {"name": str(folder / "model")},
            "data": {"train": str(folder / "rows.jsonl")},
            "adapter": {"kind": kind},
            "run": {"name": name, "folder": str(folder / "runs")},
            "train": {"max_steps": 60, "batch_size": 8, "learning_rate": 2e-2, "num_threads": 1, "device": "cpu"}
            | settings,
            "precision": {"compute": "fp32"},
            "evaluate": {"stop_test_rows": 0, "sample_prompts": 0, "tasks": []},
        }
        (folder / f"{name}-recipe.yaml").write_text(yaml.safe_dump(content))
        return Path(train(load_recipe(folder / f"{name}-recipe.yaml")).run)

    return World(folder, run("first", "lora"), run("second", "lora", seed=7, max_steps=40), run("whole", "none"))


def answers(run: Path, task: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in RunFolder(run).read_lines(f"evaluation/{task}/rows.jsonl"):
        found.setdefault(line["contender"], []).append(line["answer"])
    return found


@pytest.fixture
def endpoint() -> Iterator[Any]:
    with fake_openai(lambda asked: Mood(f"Thing {asked.said.split()[-1][:-1]} is red.")) as server:
        yield server


def test_all_kinds_answer_the_same_questions(world: World, endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in (world.second, world.whole):
        evaluate(other, tasks=world.tasks())
    loaded: list[str] = []
    from luthier.workflows import rivals as module

    own_model = module._own_model
    monkeypatch.setattr(module, "_own_model", lambda rival, *rest: loaded.append(rival.name) or own_model(rival, *rest))
    others = [
        str(world.second),
        f"{world.first}@last",
        str(world.whole),
        str(world.folder / "model"),
        f"gpt@{endpoint.url}",
    ]
    estimates: list[Any] = []
    result = evaluate(world.first, tasks=world.tasks(), others=others, before_asking=estimates.append)
    words, bits = result.tasks
    assert [c.name for c in words.contenders] == [
        "base", "few_shot", "tuned", "second", "first@last", "whole", "model", "gpt",
    ]  # fmt: skip
    assert [c.name for c in bits.contenders] == ["base", "tuned", "second", "first@last", "whole", "model"]
    assert loaded == ["whole", "model"]  # adapters on the same base stand beside the run's own
    said = answers(world.first, "words")
    assert said["second"] == answers(world.second, "words")["tuned"] != said["tuned"]
    assert said["whole"] == answers(world.whole, "words")["tuned"]
    assert said["model"] == said["base"]
    assert said["gpt"][0] == "Thing 42 is red."
    for name, run in (("second", world.second), ("whole", world.whole)):
        theirs = RunFolder(run).read_json("evaluation/bits/summary.json")["contenders"]["tuned"]["bits_per_byte"]
        assert bits[name].mean.mean == pytest.approx(theirs, rel=1e-5)
    assert abs(bits["second"].mean.mean - bits["tuned"].mean.mean) > 1e-3
    assert bits["model"].mean.mean == pytest.approx(bits["base"].mean.mean, rel=1e-6)
    assert [(c.first, c.second) for c in words.comparisons()][-1] == ("tuned", "gpt")
    (estimate,) = estimates
    assert (estimate.num_questions, estimate.num_known) == (20, 0)
    assert len(endpoint.asked) == result.endpoints[0].num_asked == 20
    page = (world.first / "report.html").read_text()
    assert "first@last" in page
    # All of it is known now, the probabilities too; the endpoint is neither asked nor announced.
    again = evaluate(world.first, tasks=world.tasks(), others=others, before_asking=estimates.append)
    assert (again.num_generated, again.num_measured, again.endpoints[0].num_asked) == (0, 0, 0)
    assert (again.num_cached, again.num_found) == (20 * 7, 22 * 6)
    assert len(endpoint.asked) == 20
    assert len(estimates) == 1
    assert [t.to_json()["contenders"] for t in again.tasks] == [t.to_json()["contenders"] for t in result.tasks]


def test_the_last_checkpoint_answers_as_the_result_of_it(world: World) -> None:
    from luthier.training.checkpoint import CheckpointStore

    for run in (world.first, world.whole):
        store = CheckpointStore(run / "checkpoints")
        assert store.best is not None
        which = f"{run}@{store.best.step}"  # the result holds the weights of the best checkpoint
        result = evaluate(run, tasks=world.tasks("words"), others=[which])
        said = answers(run, "words")
        assert said[f"{run.name}@{store.best.step}"] == said["tuned"] != said["base"]
        assert result.tasks[0].comparisons()[-1].difference.mean == 0


def test_a_gguf_file_answers_as_the_run_that_it_was_made_from(world: World) -> None:
    out = world.folder / "exported"
    words = ["export", str(world.whole), "--to", "gguf", "--type", "f32", "--out", str(out), "--json"]
    assert main(words) == 0
    (file,) = out.rglob("*.gguf")
    small = shutil.copy(file, world.folder / "small.gguf")
    evaluate(world.whole, tasks=world.tasks(), others=[str(small)])
    said = answers(world.whole, "words")
    assert said["small"] == said["tuned"] != said["base"]
    bits = RunFolder(world.whole).read_json("evaluation/bits/summary.json")["contenders"]
    assert bits["small"]["bits_per_byte"] == pytest.approx(bits["tuned"]["bits_per_byte"], rel=1e-4)


def test_an_endpoint_that_is_down_or_gives_up_loses_nothing(world: World, tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="cannot be reached"):
        evaluate(world.first, tasks=world.tasks("words"), others=["down@http://127.0.0.1:9/v1"])
    with fake_openai(lambda a: Mood("x") if a.number <= 8 else Mood("none left", status=402)) as server:
        with pytest.raises(EndpointError, match="none left"):
            evaluate(world.first, tasks=world.tasks("words"), others=[f"paid@{server.url}"])
        server._reply = lambda _: Mood("x")
        result = evaluate(world.first, tasks=world.tasks("words"), others=[f"paid@{server.url}"])
        # Eight are known. The four that were on their way when it ended may be answered late, or asked again.
        assert 8 <= result.endpoints[0].num_asked <= 16
        assert len(result.tasks[0]["paid"].answers) == 20


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("nothing-of-the-kind", "neither a run"),
        ("{runs}/first@99", "has kept no checkpoint '99', but: first@"),
        ("{folder}/held.jsonl.gguf", "cannot be read"),
        ("{folder}/fake.gguf", "does not begin as a GGUF file does"),
        ("gpt@http://", "neither a run"),
        ("{folder}/tuned", "would name two contenders"),
    ],
)
def test_what_cannot_answer_is_told_before_anything_is_loaded(
    world: World, typed: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (world.folder / "fake.gguf").write_text("hello")
    shutil.copytree(world.folder / "model", world.folder / "tuned", dirs_exist_ok=True)
    other = typed.format(folder=world.folder, runs=world.folder / "runs")
    code = main(["evaluate", str(world.first), "--task", *world.tasks("words"), "--with", other, "--json"])
    captured = capsys.readouterr()
    assert code == 2
    assert words in json.loads(captured.out)["error"]["message"]
    assert "Load" not in captured.err


def test_an_endpoint_is_asked_with_yes_alone(world: World, endpoint: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(world.first), "--task", *world.tasks("words"), "--with", f"new@{endpoint.url}", "--json"]
    assert main([*words, "--price-in", "2"]) == 2
    assert "both prices" in capsys.readouterr().out
    prices = ["--price-in", "2", "--price-out", "8"]
    assert main([*words, *prices]) == 2
    captured = capsys.readouterr()
    assert "--yes" in json.loads(captured.out)["error"]["message"]
    assert "20 questions to the endpoint." in captured.err
    assert endpoint.asked == []
    assert main([*words, *prices, "--yes"]) == 0
    content = json.loads(capsys.readouterr().out)
    (paid,) = content["endpoints"]
    assert paid["num_asked"] == 20
    assert paid["cost"] == pytest.approx(20 * (10 * 2 + 5 * 8) / 1e6)


def test_a_model_here_may_judge_and_is_found_out_where_it_cannot(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    # The task is evaluated first where it was not. The tiny model has 512 positions, fewer than a question to a judge has.
    shutil.rmtree(world.second / "evaluation", ignore_errors=True)
    words = [
        "judge",
        str(world.second),
        "--task",
        *world.tasks("words"),
        "--judge",
        str(world.first),
        "--limit",
        "2",
        "--json",
    ]
    assert main(words) == 2
    captured = capsys.readouterr()
    message = json.loads(captured.out)["error"]["message"]
    assert "gave no verdict on any of 2 rows of words" in message
    assert "no answer: The question has" in message
    assert "it is evaluated first" in captured.err
    assert (world.second / "evaluation/words/summary.json").is_file()
    assert not (world.second / "evaluation/words.judge-base").exists()


def test_a_task_without_worked_examples_says_what_is_missing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(world.second), "--task", *world.tasks("bits"), "--task", *world.tasks("words"), "--json"])
    told = capsys.readouterr().err
    assert "bits has no worked examples" in told
    assert "words has no worked examples" not in told


def test_what_a_run_kept_back_is_a_task(world: World) -> None:
    from luthier.workflows.load_run import open_run
    from luthier.workflows.training_rows import read_held_out_rows, read_training_rows

    (result,) = evaluate(world.second, tasks=["heldout"]).tasks
    kept: Any = read_held_out_rows(*open_run(world.second))
    assert result.num_rows == len(kept) > 0
    asked = {answer.row.question: answer.row.reference for answer in result["tuned"].answers}
    assert asked == {row.messages[0].content: row.messages[-1].content for row in kept}
    training: Any = read_training_rows(*open_run(world.second))
    learnt = {row.messages[0].content for row in training}
    assert not learnt & asked.keys()
