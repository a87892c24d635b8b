"""Which process works on a run, and whether it still lives.

process.json names it: {"pid", "started", "host", "detached"}. A number alone is not enough, because the system gives it to
another process later; the start time tells them apart. On another machine (a shared disk) nothing can be said.
"""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest

FILE_NAME = "process.json"


@dataclass(frozen=True, slots=True)
class RunProcess:
    """A process that works, or worked, on a run.

    Attributes:
        started: When it began, in the system's own words; only ever compared for equality.
        detached: Whether it runs without a terminal.
    """

    pid: int
    started: str
    host: str
    detached: bool = False

    @classmethod
    def this(cls, *, detached: bool) -> RunProcess:
        """The running process."""
        return cls(os.getpid(), start_of(os.getpid()) or "", socket.gethostname(), detached)

    @property
    def is_on_this_machine(self) -> bool:
        """Whether it can be seen and stopped from here."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs. On another machine it is taken to."""
        return not self.is_on_this_machine or start_of(self.pid) == self.started

    def save(self, folder: RunFolder) -> None:
        """Write process.json."""
        folder.write_json(FILE_NAME, asdict(self))

    @classmethod
    def load(cls, folder: RunFolder) -> RunProcess | None:
        """Who works on a run; None where nobody has said so."""
        content = folder.read_json(FILE_NAME)
        return None if content is None else cls(**content)


def start_of(pid: int) -> str | None:
    """When a process began; None if there is no such process, or it has ended and only waits to be collected."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name in parentheses may hold anything; after it come state (field 3) and, as field 22, the start.
            fields = stat.read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        return None if fields[0] in ("Z", "X") else f"{boot} {fields[19]}"
    found = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
    ).stdout.split(None, 1)
    return None if len(found) < 2 or found[0].startswith("Z") else found[1].strip()


def as_it_is(folder: RunFolder, manifest: Manifest) -> Manifest:
    """The record of a run, put right where it says "running" and its process has gone. Nothing is written."""
    if manifest.status != "running":
        return manifest
    process = RunProcess.load(folder)
    if process is None or process.is_alive:
        return manifest
    # It may have written its end between our two looks.
    manifest = Manifest.load(folder)
    if manifest.status != "running":
        return manifest
    return manifest.model_copy(update={"status": "interrupted", "error": _ended(folder)})


def _ended(folder: RunFolder) -> str:
    if has_checkpoint(folder):
        return f"Process ended without a word (killed, or power lost). Continue with: luthier train --resume {folder.typed}"
    return "Process ended without a word before its first checkpoint. Begin again with --overwrite."


def has_checkpoint(folder: RunFolder) -> bool:
    """Whether a resume has something to go on from."""
    return (folder / "checkpoints" / "index.json").is_file()
