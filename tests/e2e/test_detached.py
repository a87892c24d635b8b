"""A run without a terminal: starts, is watched, survives a hang-up, is stopped, goes on, is killed; its start's errors arrive."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from luthier.runs.process import RunProcess
from tests.e2e.test_train_cli import luthier, recipe
from tests.tiny import save_tiny_model, write_chat_rows

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="detached runs need POSIX"), pytest.mark.slow]

LONG = {"max_steps": 1_000_000, "evaluate_every": 1_000_000, "checkpoint_every": 20}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("detached")
    save_tiny_model(folder / "model")
    write_chat_rows(folder / "rows.jsonl")
    yield folder
    for path in (folder / "runs").glob("*/process.json"):  # a test that failed leaves nothing running
        process = RunProcess(**json.loads(path.read_text()))
        if process.is_alive:
            os.kill(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """No zombie either: a detached process is collected by init, not by us."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def steps(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_text().count('"train"') if path.is_file() else 0


def state(place: Path, name: str) -> dict[str, object]:
    done = luthier(place, "watch", name, "--json")
    return json.loads(done.stdout)


def test_detach_watch_hang_up_stop_resume_kill(place: Path) -> None:
    run = place / "runs" / "away"
    began = luthier(place, "train", str(recipe(place, "away", train=LONG)), "--detach", "--json")
    assert began.returncode == 0, began.stderr
    started = json.loads(began.stdout)
    pid = started["pid"]
    assert started["log"] == str(run / "output.log")
    assert Path(started["log"]).is_file()
    assert list(place.glob("runs/.*")) == [], "the place it started from is gone"
    assert os.getsid(pid) == pid != os.getsid(0), "a session of its own: a closed terminal does not reach it"

    wait_for(lambda: steps(run) > 25)
    os.kill(pid, signal.SIGHUP)
    before = steps(run)
    wait_for(lambda: steps(run) > before)
    seen = state(place, "away")
    assert (seen["status"], seen["pid"]) == ("running", pid)
    assert "running" in luthier(place, "runs").stdout
    for again in (["--overwrite"], ["--detach", "--overwrite"]):
        refused = luthier(place, "train", str(place / "away.yaml"), *again)
        assert refused.returncode == 2
        assert f"trained by process {pid}" in " ".join(refused.stderr.split())

    stopped = luthier(place, "stop", "away", "--json")
    assert stopped.returncode == 0, stopped.stderr
    content = json.loads(stopped.stdout)
    assert (content["action"], content["status"], content["saved"]) == ("stopped", "interrupted", True)
    assert not is_alive(pid)
    assert json.loads((run / "result.json").read_text())["error"]["type"] == "Interrupted"
    index = json.loads((run / "checkpoints" / "index.json").read_text())
    assert index["last"]["step"] == content["step"] >= 25
    assert "is not running" in luthier(place, "stop", "away").stdout

    resumed = luthier(place, "train", "--resume", "away", "--detach", "--json")
    assert resumed.returncode == 0, resumed.stderr
    second = json.loads(resumed.stdout)["pid"]
    wait_for(lambda: steps(run) > content["step"] + 5)
    os.kill(second, signal.SIGKILL)
    wait_for(lambda: not is_alive(second))
    assert json.loads((run / "run.json").read_text())["status"] == "running"
    watched = luthier(place, "watch", "away")
    assert watched.returncode == 1
    assert "Process ended without a word" in watched.stdout
    assert "interrupted" in luthier(place, "runs").stdout
    assert json.loads(luthier(place, "stop", "away", "--json").stdout)["action"] == "put right"
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"


def test_watch_follows_a_detached_run_to_its_verdict(place: Path) -> None:
    path = recipe(place, "short", train={"max_steps": 30, "evaluate_every": 10})
    assert luthier(place, "train", str(path), "--detach").returncode == 0
    watched = luthier(place, "watch", "short")
    assert watched.returncode == 0, watched.stderr
    assert "verified, step 30/30" in watched.stdout
    assert (place / "runs" / "short" / "report.html").is_file()
    result = place / "runs" / "short" / "result.json"
    wait_for(lambda: result.read_text().endswith("\n"))
    assert json.loads(result.read_text())["verdict"] == "verified"
    report = luthier(place, "report", "short", "--json")
    assert Path(json.loads(report.stdout)["report"]).name == "report.html"


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"train": {"epoch": 1}}, "Did you mean 'epochs'?"),
        ({"data": {"train": "rowz.jsonl"}}, "rowz.jsonl"),
        ({"model": {"name": "nobody/nothing"}}, "luthier models fetch"),
        ({"run": {"sinks": ["tensorbord"]}}, "tensorbord"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing(place: Path, sections: dict[str, dict], words: str) -> None:
    path = recipe(place, "bad", **sections)
    content = yaml.safe_load(path.read_text())
    content["run"]["folder"] = str(place / "none-yet")
    path.write_text(yaml.safe_dump(content))
    done = luthier(place, "train", str(path), "--detach")
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (place / "none-yet").exists()
