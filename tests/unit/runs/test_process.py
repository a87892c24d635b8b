"""A process is told from another one that got its number later, and a launch and a stop say what happened."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luthier.errors import RunError
from luthier.runs.claim import claim, refuse_running, refuse_taken_name
from luthier.runs.folder import RunFolder
from luthier.runs.launch import put_right, stop
from luthier.runs.manifest import Manifest, now
from luthier.runs.process import RunProcess, start_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process tables of POSIX")


def make_run(path: Path, status: str = "running") -> RunFolder:
    folder = RunFolder.create(path)
    base = {"name": path.name, "base_model": "m", "method": "lora", "luthier_version": "0", "created_at": now()}
    Manifest.model_validate(base | {"status": status, "step": 3, "total_steps": 9}).save(folder)
    return folder


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_start_tells_processes_apart_and_a_zombie_is_none() -> None:
    assert start_of(os.getpid()) == start_of(os.getpid()) is not None
    child = sleeper()
    assert start_of(child.pid) != start_of(os.getpid())
    child.kill()
    deadline = time.monotonic() + 5
    while start_of(child.pid) is not None and time.monotonic() < deadline:  # not waited for: a zombie until then
        time.sleep(0.01)
    assert start_of(child.pid) is None
    child.wait()
    assert start_of(child.pid) is None


def test_stop_sends_sigterm_and_waits(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    child = sleeper()
    RunProcess(child.pid, start_of(child.pid) or "", socket.gethostname()).save(folder)
    stopped = stop(folder.path)
    assert child.wait() == -signal.SIGTERM
    # A process that ends without writing anything: the record is put right.
    assert (stopped.action, stopped.status, stopped.step, stopped.saved) == ("stopped", "interrupted", 3, False)
    assert Manifest.load(folder).status == "interrupted"
    assert stop(folder.path).action == "was not running"


def test_stop_never_touches_another_process_of_the_same_number(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    child = sleeper()
    RunProcess(child.pid, "an earlier start", socket.gethostname()).save(folder)
    stopped = stop(folder.path)
    assert (stopped.action, stopped.status) == ("put right", "interrupted")
    assert child.poll() is None
    child.kill()
    child.wait()


def test_stop_refuses_what_it_cannot_see(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    with pytest.raises(RunError, match="does not say which process"):
        stop(folder.path)
    RunProcess(1, "x", "another-machine").save(folder)
    with pytest.raises(RunError, match="on the machine another-machine"):
        stop(folder.path)
    put_right(folder)
    assert Manifest.load(folder).status == "running"


def test_a_run_has_one_process_at_a_time(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    child = sleeper()
    RunProcess(child.pid, start_of(child.pid) or "", socket.gethostname()).save(folder)
    with pytest.raises(RunError, match=f"trained by process {child.pid}.*luthier stop {folder.path}"):
        refuse_running(folder)
    with pytest.raises(RunError, match="trained by process"):
        refuse_taken_name(folder.path, overwrite=True)
    child.kill()
    child.wait()
    refuse_running(folder)
    refuse_taken_name(folder.path, overwrite=True)
    with pytest.raises(RunError, match="exists already"):
        refuse_taken_name(folder.path, overwrite=False)
    claim(folder)
    assert RunProcess.load(folder) == RunProcess.this(detached=False)
    refuse_running(folder)  # our own


def test_a_name_is_free_again_where_nothing_was_done_with_it(tmp_path: Path) -> None:
    for status in ("failed", "interrupted", "running"):  # running: its process has gone
        folder = make_run(tmp_path / status, status)
        Manifest.load(folder).model_copy(update={"step": 0}).save(folder)
        RunProcess(1, "an earlier start", socket.gethostname()).save(folder)
        folder.append_line("metrics.jsonl", {"kind": "validation", "step": 0, "loss": 2.0})
        refuse_taken_name(folder.path, overwrite=False)
        assert not folder.path.exists()


def test_a_name_that_holds_work_says_what_can_be_done_with_it(tmp_path: Path) -> None:
    begun = make_run(tmp_path / "begun", "interrupted")
    (begun / "checkpoints").mkdir()
    begun.write_json("checkpoints/index.json", {})
    stepped = make_run(tmp_path / "stepped", "failed")
    stepped.append_line("metrics.jsonl", {"kind": "train", "step": 1, "loss": 2.0})
    done = make_run(tmp_path / "done", "finished")
    for folder, can_resume in ((begun, True), (stepped, False), (done, False)):
        with pytest.raises(RunError, match="pass --overwrite to replace it") as refused:
            refuse_taken_name(folder.path, overwrite=False)
        assert ("--resume" in str(refused.value)) is can_resume
