from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luthier.evaluation import sandbox
from luthier.evaluation.sandbox import isolation_in_words, namespace_command, run_program


@pytest.fixture(params=["as it is", "without namespaces"])
def isolation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without namespaces":
        monkeypatch.setattr(sandbox, "namespace_command", lambda: ())


@pytest.mark.usefixtures("isolation")
def test_a_good_program_and_a_bad_one() -> None:
    assert run_program("x = 1\nprint('hello')", seconds=5) == (True, "")
    assert run_program("1 / 0", seconds=5) == (False, "ZeroDivisionError: division by zero")


@pytest.mark.usefixtures("isolation")
def test_processor_time_is_limited() -> None:
    began = time.monotonic()
    run = run_program("while True: pass", seconds=1)
    assert not run.finished
    assert "processor time" in run.why
    assert time.monotonic() - began < sandbox.PATIENCE + sandbox.PATIENCE_SECONDS


@pytest.mark.usefixtures("isolation")
def test_sleepers_and_their_children_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PATIENCE", 0)
    monkeypatch.setattr(sandbox, "PATIENCE_SECONDS", 1.5)
    began = time.monotonic()
    run = run_program(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\ntime.sleep(60)", seconds=1
    )
    assert run == (False, "stopped: it did not come to an end")
    assert time.monotonic() - began < 20


@pytest.mark.usefixtures("isolation")
def test_memory_is_limited() -> None:
    run = run_program("x = bytearray(2_000_000_000)", seconds=5, memory_bytes=512 * 1024**2)
    assert run == (False, "MemoryError")


@pytest.mark.usefixtures("isolation")
@pytest.mark.parametrize(
    "program",
    [
        "import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=2)",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.system('true')",
        "import os\nos.fork()",
        "open({outside!r}, 'w').write('x')",
        "import os\nos.remove({outside!r})",
        "import os, shutil\nshutil.rmtree(os.path.dirname({outside!r}))",
        "import os\nos.rename({outside!r}, 'mine')",
        "import os\nos.kill({pid}, 9)",
        "open('../escaped', 'w')",
    ],
)
def test_what_a_program_may_not(program: str, tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.write_text("still here")
    run = run_program(program.format(outside=str(outside), pid=os.getpid(), port=9), seconds=5)
    assert not run.finished
    assert "PermissionError" in run.why, run
    assert outside.read_text() == "still here"


def test_what_it_may() -> None:
    program = "open('file', 'w').write('x')\nassert open('file').read() == 'x'\nimport os\nos.remove('file')\nimport math, json"
    assert run_program(program, seconds=5).finished


def test_the_environment_is_empty_and_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    assert run_program("import os\nassert 'SECRET_TOKEN' not in os.environ\nopen('left', 'w')", seconds=5).finished
    assert list(tmp_path.iterdir()) == []


def test_large_output_does_no_harm() -> None:
    run = run_program("import sys\nwhile True: sys.stdout.write('x' * 1_000_000)", seconds=5)
    assert not run.finished


@pytest.mark.skipif(not namespace_command(), reason="this system gives no namespaces")
def test_with_namespaces_native_code_has_no_network_and_sees_no_process() -> None:
    """What the audit hook cannot see: a system call made past Python."""
    probe = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"assert libc.kill({os.getpid()}, 0) == -1 and ctypes.get_errno() == 3\n"  # no such process
        "s = libc.socket(2, 1, 0)\nassert s >= 0\n"
        "address = bytes([2, 0, 0, 9, 192, 0, 2, 1]) + bytes(8)\n"
        "assert libc.connect(s, address, 16) == -1 and ctypes.get_errno() == 101\n"  # network is unreachable
    )
    assert run_program(probe, seconds=5) == (True, "")


def test_isolation_is_told_honestly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "files can be read" in isolation_in_words()
    monkeypatch.setattr(sandbox, "namespace_command", lambda: ())
    assert "sockets refused from inside only" in isolation_in_words()


def test_null_characters_are_no_program() -> None:
    assert not run_program("x = 1\0", seconds=1).finished


def test_python_of_this_environment_is_used() -> None:
    version = subprocess.run([sys.executable, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    assert run_program(f"import platform\nassert platform.python_version() == {version!r}", seconds=5).finished
