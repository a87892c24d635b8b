"""Output that nobody reads, that is closed, or that cannot show our signs stops nothing."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

from luthier.cli.streams import LastingStream


def run(arguments: list[str], place: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "luthier", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False)


class Pipe(io.StringIO):
    """Its reader leaves."""

    is_read = True

    def write(self, text: str) -> int:
        if not self.is_read:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return super().write(text)


def test_a_stream_whose_reader_is_gone_falls_silent() -> None:
    pipe = Pipe()
    lasting = LastingStream(pipe)
    assert lasting.write("heard\n") == 6
    pipe.is_read = False
    assert lasting.write("not heard\n") == 10
    lasting.flush()
    pipe.is_read = True
    assert lasting.write("nor this\n") == 9, "a line that is torn in the middle is worse than none"
    assert lasting.getvalue() == "heard\n"


def test_signs_that_the_terminal_has_not_are_replaced(tmp_path: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii:strict"}
    done = run(["--help"], tmp_path, **ascii_only)
    assert done.returncode == 0
    assert b"Exit codes: 0 good - 1 a check failed" in done.stdout
    done = run(["runs", "--folder", "Übung…"], tmp_path, **ascii_only)
    assert b"No runs in ?bung...." in done.stdout


def test_a_closed_stdout_is_no_fault(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m luthier runs >&- <&-"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_stdin_reads_as_empty(tmp_path: Path) -> None:
    code = (
        "import sys; from luthier.cli.streams import prepare_streams; prepare_streams(); print(repr(sys.stdin.read()))"
    )
    command = f"exec {sys.executable} -c '{code}' <&-"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"''\n", b"")
