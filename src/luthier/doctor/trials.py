"""Small things that are run, not looked up: products, attention, a LoRA step, 4-bit weights, tokenizer, data, sinks, two ranks.

Each trial compares with an independent reference where there is one and says in a sentence what it saw. What it raises is
its verdict; `NotHere` means that this machine or installation was never meant to do it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from luthier.doctor.item import Item
from luthier.doctor.packages import OPTIONAL
from luthier.reporter import Level, Silent
from luthier.training.trackers import SINKS, TrackedRun, open_trackers

if TYPE_CHECKING:
    import torch

TWO_RANKS_SECONDS = 120
TOLERANCE = {"fp32": 1e-4, "bf16": 3e-2, "fp16": 5e-3}
"""Largest relative error of a product of random matrices (norm of the difference by norm of the reference)."""


class NotHere(Exception):  # noqa: N818 - nothing is wrong
    """This trial does not apply; `mend` says what would make it apply."""

    def __init__(self, reason: str, mend: str = "") -> None:
        super().__init__(reason)
        self.mend = mend


class Trial(NamedTuple):
    """Something to run.

    Attributes:
        run: Does it and says what it saw.
        mend: What to do when it fails.
    """

    name: str
    run: Callable[[], str]
    mend: str


def run_trial(trial: Trial) -> Item:
    """Run one; whatever it raises becomes its verdict, so that the next ones still run."""
    began = time.perf_counter()
    try:
        found = trial.run()
    except NotHere as reason:
        return Item("trials", trial.name, "skipped", str(reason), reason.mend)
    except Exception as error:  # of any library
        lines = str(error).strip().splitlines()
        found = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
        return Item("trials", trial.name, "failed", found, trial.mend, time.perf_counter() - began)
    return Item("trials", trial.name, "good", found, "", time.perf_counter() - began)


def trials(device: torch.device, *, with_ranks: bool) -> Iterator[Trial]:
    """All trials on a device, in the order in which they build on each other."""
    reinstall = "pip install --force-reinstall 'torch>=2.11,<2.14'"
    for compute in ("fp32", "bf16", "fp16"):
        yield Trial(f"matmul {compute}", lambda compute=compute: matmul(device, compute), reinstall)
    yield Trial(
        "attention",
        lambda: attention(device),
        f"{reinstall}; until then set model.attention: sdpa (or eager) in the recipe",
    )
    yield Trial(
        "lora step", lambda: lora_step(device), "pip install --force-reinstall luthier, and run luthier doctor again"
    )
    yield Trial("nf4 linear", lambda: nf4_linear(device), "pip install --force-reinstall bitsandbytes")
    yield Trial("two ranks", lambda: two_ranks(device, with_ranks), _ranks_mend(device))
    yield Trial("tokenizer", tokenizer, "pip install --force-reinstall tokenizers transformers")
    yield Trial(
        "data loading", data_loading, "pip install --force-reinstall pyarrow, and look at TMPDIR: is there room?"
    )
    for name, sink in SINKS.items():
        yield Trial(f"sink {name}", lambda name=name: sink_trial(name), f"pip install --force-reinstall {sink.package}")


def _ranks_mend(device: torch.device) -> str:
    if device.type == "cuda":
        return "NCCL_DEBUG=INFO luthier doctor --ranks shows why; NCCL_P2P_DISABLE=1 helps where cards cannot reach each other"
    return "Set GLOO_SOCKET_IFNAME to a network interface that works, e.g. lo"


def matmul(device: torch.device, compute: str) -> str:
    """A product against the same in fp64 on the CPU."""
    import torch

    from luthier.models.placement import DTYPES

    if compute == "bf16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        raise NotHere("this card does not compute bf16; trainings on it use fp16 with loss scaling")
    size = 128 if device.type == "cpu" else 1024  # a CPU multiplies some formats number by number
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, dtype=torch.float64, generator=generator) for _ in range(2))
    left, right = (x.to(device, DTYPES[compute]) for x in (a, b))
    error = float((left @ right).double().cpu().sub(a @ b).norm() / (a @ b).norm())
    if not error <= TOLERANCE[compute]:
        raise ArithmeticError(f"wrong by {error:.1e} of its size, allowed {TOLERANCE[compute]:.0e}")
    repeats, began = 8, time.perf_counter()
    products = [left @ right for _ in range(repeats)]
    float(products[-1][0, 0])  # waits for the device
    rate = repeats * 2 * size**3 / (time.perf_counter() - began)
    return f"right to {error:.0e}, {rate / 1e9:,.1f} GFLOP/s on {device} ({size} × {size})"


def attention(device: torch.device) -> str:
    """Our route over two packed documents, forward and backward, against each document alone by softmax in fp64."""
    import torch
    from transformers import AttentionInterface, LlamaConfig

    from luthier.accel.attention import choose_route
    from luthier.data.batch import SegmentTable
    from luthier.models.placement import place

    route, reason = choose_route("auto", LlamaConfig(), device)
    dtype = place(device.type, "auto").dtype
    lengths, heads, width = (48, 80), 4, 64
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, heads, sum(lengths), width, generator=generator).to(dtype).double() for _ in range(3)]
    ours = [x.to(device, dtype).requires_grad_() for x in inputs]
    table = SegmentTable((0, lengths[0]), lengths, (-1, -1))
    forward: Any = AttentionInterface()[f"luthier_{route}"]
    out, _ = forward(torch.nn.Module(), *ours, None, segments=table)
    out.float().pow(2).sum().backward()
    theirs = [x.clone().requires_grad_() for x in inputs]
    expected = torch.cat(
        [_softmax(*(x[:, :, start:end] for x in theirs)) for start, end in ((0, 48), (48, 128))], dim=2
    )
    expected.pow(2).sum().backward()
    pairs = [(out.transpose(1, 2), expected.detach()), *((a.grad, b.grad) for a, b in zip(ours, theirs, strict=True))]
    error = max(float((a.detach().double().cpu() - b).norm() / b.norm()) for a, b in pairs)
    allowed = 5 * TOLERANCE["bf16" if dtype == torch.bfloat16 else "fp16" if dtype == torch.float16 else "fp32"]
    if not error <= allowed:
        raise ArithmeticError(f"route {route}: wrong by {error:.1e} of its size, allowed {allowed:.0e}")
    return f"route {route} ({reason}), forward and backward right to {error:.0e}"


def _softmax(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    import torch

    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    above = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(above, float("-inf")).softmax(-1) @ v


def lora_step(device: torch.device) -> str:
    """Steps of the real training loop's step on a random model of a few thousand weights: its loss has to fall."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from luthier.accel.attention import choose_route
    from luthier.accel.scorer import ScoringModel
    from luthier.data.collate import collate
    from luthier.data.example import Example, Segment
    from luthier.models.adapters import add_lora, trained_parameters
    from luthier.models.placement import place
    from luthier.objectives.sft import Sft
    from luthier.training.loss_scale import LossScale
    from luthier.training.optim import MasterAdamW
    from luthier.training.ranks import Ranks
    from luthier.training.step import train_step

    placement = place(device.type, "auto")
    config = LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: Any = LlamaForCausalLM(config)
    network = network.to(device, placement.dtype).requires_grad_(False).eval()
    model = add_lora(
        network, rank=8, alpha=16.0, dropout=0.0, target_modules="all-linear", dtype=placement.trained_dtype, seed=0
    )
    scoring = ScoringModel(model, choose_route("auto", config, device)[0])
    optimizer = MasterAdamW(
        trained_parameters(model), betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.0, max_grad_norm=1.0
    )
    weights = np.array([0.0] + [1.0] * 31, dtype=np.float32)
    ids = np.random.default_rng(0).integers(0, 128, (2, 32)).astype(np.int32)
    batch = collate([Example(i, (Segment(row, weights),)) for i, row in enumerate(ids)])
    loss_scale, ranks = LossScale.for_compute(placement.compute), Ranks()
    losses = [
        train_step(
            scoring,
            Sft(),
            [batch],
            optimizer,
            learning_rate=0.02,
            loss_scale=loss_scale,
            placement=placement,
            ranks=ranks,
        ).loss
        for _ in range(4)
    ]
    if not losses[-1] < losses[0]:
        raise ArithmeticError(f"the loss does not fall: {', '.join(f'{loss:.3f}' for loss in losses)}")
    return f"{placement.compute} on {device}: loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps"


def nf4_linear(device: torch.device) -> str:
    """A 4-bit layer by bitsandbytes, forward and backward to its input."""
    import torch

    if device.type == "mps":
        raise NotHere("bitsandbytes does not run on Apple silicon")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise NotHere("bitsandbytes is not installed", f"pip install {OPTIONAL['bitsandbytes'][0]}")
    bnb: Any = importlib.import_module("bitsandbytes")
    from luthier.models.placement import place

    dtype = place(device.type, "auto").dtype
    torch.manual_seed(0)
    weight = torch.randn(128, 128)
    layer = bnb.nn.Linear4bit(128, 128, bias=False, compute_dtype=dtype, quant_type="nf4")
    layer.weight = bnb.nn.Params4bit(weight.clone(), requires_grad=False, quant_type="nf4")
    layer = layer.to(device)
    x = torch.randn(16, 128, device=device, dtype=dtype, requires_grad=True)
    out = layer(x)
    out.float().sum().backward()
    expected = x.detach().double().cpu() @ weight.double().T
    error = float((out.detach().double().cpu() - expected).norm() / expected.norm())
    # Normal weights in 4 bits are off by about a tenth (Dettmers et al. 2023, table of data types).
    if not error <= 0.2 or x.grad is None or not bool(x.grad.isfinite().all()):
        raise ArithmeticError(f"wrong by {error:.2f} of its size, allowed 0.2")
    return f"forward and backward on {device}, off by {error:.2f} as 4 bits are"


def two_ranks(device: torch.device, wanted: bool) -> str:
    """Two processes add their numbers: over NCCL where there are two cards, else over gloo."""
    import torch

    several = device.type == "cuda" and torch.cuda.device_count() > 1
    if not wanted and not several:
        raise NotHere("one device; asked for with --ranks")
    backend = "nccl" if several else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "luthier.doctor.two_ranks", backend, str(Path(folder) / "meet")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pair = [
            subprocess.Popen(
                [*command, str(rank)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for rank in (0, 1)
        ]
        try:
            ends = [process.communicate(timeout=TWO_RANKS_SECONDS) for process in pair]
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{backend}: two processes did not find each other in {TWO_RANKS_SECONDS} s") from None
        finally:
            for process in pair:
                process.kill()
    for process, (_, words) in zip(pair, ends, strict=True):
        if process.returncode:
            raise RuntimeError((words.strip().splitlines() or ["no message"])[-1])
    sums = {out.strip() for out, _ in ends}
    if sums != {"3.0"}:
        raise ArithmeticError(f"{backend}: 1 + 2 on two ranks gave {', '.join(sorted(sums))}")
    return f"{backend}: 1 + 2 is 3 on both"


def tokenizer() -> str:
    """Text to ids and back: the built-in model's where it is ready, else one that is made here."""
    from luthier.models.builtin import cached

    text = "Grüße, 世界! 3 × 4 = 12\n\tdone"
    ready = next(iter(cached().items()), None)
    if ready is not None:
        from tokenizers import Tokenizer

        one, name = Tokenizer.from_file(str(ready[1] / "tokenizer.json")), ready[0]
    else:
        one, name = _byte_tokenizer(), "a tokenizer of bytes"
    ids = one.encode(text, add_special_tokens=False).ids
    back = one.decode(ids, skip_special_tokens=False)
    if back != text:
        raise ValueError(f"{name}: {text!r} came back as {back!r}")
    return f"{name}: {len(text)} characters, {len(ids)} tokens, and back"


def _byte_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab = {symbol: i for i, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    one = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    one.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    one.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return one


def data_loading() -> str:
    """The same rows from jsonl and from Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from luthier.data.sources import read_rows

    rows: list[dict[str, str]] = [{"question": f"{i} × 2?", "answer": str(2 * i)} for i in range(100)]
    with tempfile.TemporaryDirectory() as folder:
        lines, table = Path(folder) / "rows.jsonl", Path(folder) / "rows.parquet"
        lines.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        pq.write_table(pa.Table.from_pylist(rows), table)
        for path in (lines, table):
            read = [dict(row.value) for row in read_rows(path)]
            if read != rows:
                raise ValueError(
                    f"{len(read)} rows came back from {path.suffix}, not the {len(rows)} that were written"
                )
    return f"{len(rows)} rows, equal from jsonl and Parquet"


def sink_trial(name: str) -> str:
    """Start a sink in a folder of its own, without a network, give it a figure and close it."""
    if importlib.util.find_spec(SINKS[name].module) is None:
        raise NotHere(f"{SINKS[name].package} is not installed", f"pip install 'luthier[{name}]'")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, _sinks_stay_in(Path(folder)):
        warnings = _Warnings()
        run = TrackedRun("doctor", "doctor-1", Path(folder) / "run", {"doctor": True})
        run.folder.mkdir()
        with open_trackers([name], run, warnings) as sinks:
            sinks.log({"kind": "train", "step": 1, "loss": 1.0})
        if warnings.said:
            raise RuntimeError(warnings.said[0])
    return "started, took a figure, closed"


@contextmanager
def _sinks_stay_in(folder: Path) -> Iterator[None]:
    """Inside, no sink writes anywhere else or talks to anybody."""
    wanted = {
        "TRACKIO_DIR": str(folder / "trackio"),
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": (folder / "mlruns").as_uri(),
    }
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


class _Warnings(Silent):
    """Keeps what is said: a sink that fails says so."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str, level: Level = "info") -> None:
        """Kept."""
        del level
        self.said.append(message)
