"""Runs a Python program that nobody has read: in a process of its own, with limits, and without what it has no use for.

Always: another process in a session of its own, killed with all of its group at the end or at the time limit; Python in
isolated mode, an empty environment, an empty folder that is deleted afterwards, no standard input; limits on processor time,
memory, size and number of open files; an audit hook that refuses to write, delete or rename outside of that folder, to start
processes, to send signals, and to use sockets.

On Linux, where the user may make namespaces (`unshare`): no network, and no process outside is visible or outlives the run.

What is NOT isolated: files can be read, all that the user can read. The audit hook lies inside the process, so native code
(ctypes) gets around it. Memory is limited by address space, which macOS does not enforce. Without `unshare` the network is
refused by the audit hook alone. This keeps the mistakes of a model from doing harm. It is no place for programs that were
written to do harm: run those in a virtual machine.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

MEMORY_BYTES = 1024**3
FILE_BYTES = 16 * 1024**2
OPEN_FILES = 64
PATIENCE, PATIENCE_SECONDS = 4, 10
"""The clock gives a program so many times its processor time, and these seconds: on a busy machine the verdict is the same."""
_SHOWN_CHARACTERS = 400
_PROBE_SECONDS = 10

_NAMESPACES = ("--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child")

# What runs in the process before the program does. The word at the end says that the program came to its end: an early
# sys.exit(0) must not pass for success.
_RUNNER = """
import json, os, runpy, sys
folder, seconds, memory, file_bytes, files, word = json.loads(sys.argv[1])
try:
    import resource
    for name, value in (("CPU", seconds), ("AS", memory), ("FSIZE", file_bytes), ("NOFILE", files), ("CORE", 0)):
        try:
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
        except (ValueError, OSError):
            pass
except ImportError:
    pass
say = sys.stdout.write
CHANGES = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.truncate", "os.link", "os.symlink",
           "os.utime", "shutil.rmtree", "shutil.move"}
NEVER = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.kill",
         "os.killpg", "signal.pthread_kill", "os.startfile"}
def inside(path, real=os.path.realpath, join=os.path.join, fsdecode=os.fsdecode):
    if isinstance(path, int):
        return True
    path = real(fsdecode(path))
    return path == folder or path.startswith(folder + os.sep) or path == os.devnull
def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if path is not None and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) and not inside(path):
            raise PermissionError(f"writing to {path!r} is not allowed here")
    elif event in NEVER or event.startswith("socket.") and event != "socket.gethostname":
        raise PermissionError(f"{event} is not allowed here")
    elif event in CHANGES:
        for path in arguments[:2]:
            if isinstance(path, (str, bytes, os.PathLike)) and not inside(path):
                raise PermissionError(f"{event} of {path!r} is not allowed here")
sys.argv = ["program"]
sys.addaudithook(watch)
runpy.run_path("program.py", run_name="program")
say("\\n" + word + "\\n")
sys.stdout.flush()
"""


class ProgramRun(NamedTuple):
    """What became of a program.

    Attributes:
        finished: Whether it ran to its end without an error.
        why: Why not, in words; empty where it did.
    """

    finished: bool
    why: str


def run_program(program: str, *, seconds: float, memory_bytes: int = MEMORY_BYTES) -> ProgramRun:
    """Run the text of a Python program.

    Args:
        program: Its text; ``__name__`` is not ``__main__`` in it.
        seconds: Limit of processor time, in whole seconds (rounded up); what sleeps is ended by the clock, later.
        memory_bytes: Limit of the address space.
    """
    if "\0" in program:
        return ProgramRun(False, "the program holds a null character")
    word = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="luthier-sandbox-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        (folder / "program.py").write_text(program, encoding="utf-8", errors="replace")
        settings = json.dumps([str(folder), math.ceil(seconds), memory_bytes, FILE_BYTES, OPEN_FILES, word])
        command = [*namespace_command(), sys.executable, "-I", "-B", "-c", _RUNNER, settings]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={"PATH": os.defpath, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code: int | None = process.wait(timeout=PATIENCE * seconds + PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _kill_group(process)
        said = _end_of(folder / "output").rstrip()
    if code is None:
        return ProgramRun(False, "stopped: it did not come to an end")
    if code == 0 and said.endswith(word):
        return ProgramRun(True, "")
    return ProgramRun(False, _why(code, said))


@cache
def namespace_command() -> tuple[str, ...]:
    """The command that takes network and other processes away; empty where the system has none or refuses it."""
    program = shutil.which("unshare")
    if program is None:
        return ()
    command = (program, *_NAMESPACES)
    try:
        probe = subprocess.run([*command, "true"], capture_output=True, timeout=_PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return command if probe.returncode == 0 else ()


def isolation_in_words() -> str:
    """What holds on this machine, for a person to judge."""
    network = "no network, no sight of other processes" if namespace_command() else "sockets refused from inside only"
    return f"own process, {network}, limits on time, memory and files; files can be read"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_of(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4 * _SHOWN_CHARACTERS))
        return file.read().decode("utf-8", errors="replace")


def _why(code: int, said: str) -> str:
    number = code - 128 if code > 128 else -code  # unshare ends with the one, Python with the other
    last = said.rsplit("\n", 1)[-1].strip()
    # unshare wants to end by the signal that ended its child, and cannot by SIGKILL.
    if number in (signal.SIGXCPU, signal.SIGKILL) or last.startswith("unshare: sigprocmask"):
        return "stopped: too much processor time"
    if code == 0:
        return "the program ended itself before its end"
    return last[:_SHOWN_CHARACTERS] or f"ended with code {code}"
