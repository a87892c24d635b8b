"""`--to mlx`: the layout that mlx-lm loads on Apple silicon, written without MLX.

It is Hugging Face's layout; quantised layers hold their numbers packed into 32-bit words, with a scale and an offset for each
group of 64. It is read back here by its definition; MLX itself runs on Apple machines alone and was not asked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from luthier.errors import ModelError
from luthier.export.agreement import compare
from luthier.export.companions import write_companions
from luthier.export.format import Advance, FormatPlan, PlannedFile, Usage, Verified
from luthier.export.merge import Operation, compute, merged_config
from luthier.export.shard_writer import PlannedTensor, Shard, ShardWriter, plan_shards, write_index
from luthier.export.subject import Live, Subject
from luthier.export.verify import predictions_agree, stops_as_trained, tokens_equal
from luthier.export.weight_files import WeightFiles
from luthier.models.load import ModelSource, load_tokenizer

GROUP = 64
BITS = {"bf16": 16, "q8": 8, "q4": 4}
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3")
"""Model types that mlx-lm has under the same names of tensors."""


def quantise(weight_OI: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """MLX's affine quantisation: packed words [O, I·bits/32], scales and offsets [O, I/64].

    The end of the range that is farther from zero is hit exactly; the scale's sign says which end that is.
    """
    groups = weight_OI.float().reshape(weight_OI.shape[0], -1, GROUP)
    most = 2**bits - 1
    low, high = groups.amin(-1), groups.amax(-1)
    low_is_farther = low.abs() > high.abs()
    scale = ((high - low) / most).clamp_min(1e-7)
    scale = torch.where(low_is_farther, scale, -scale)
    edge = torch.where(low_is_farther, low, high)
    steps = torch.round(edge / scale)
    scale = torch.where(steps != 0, edge / torch.where(steps != 0, steps, 1.0), scale)
    offset = torch.where(steps == 0, torch.zeros_like(edge), edge)
    scale, offset = scale.bfloat16(), offset.bfloat16()
    levels = torch.round((groups - offset.float()[..., None]) / scale.float()[..., None]).clamp(0, most).to(torch.int64)
    per_word = 32 // bits
    shifts = torch.arange(per_word) * bits
    words = (levels.reshape(weight_OI.shape[0], -1, per_word) << shifts).sum(-1)
    return words.to(torch.uint32), scale, offset


def dequantise(words: Tensor, scale: Tensor, offset: Tensor, bits: int) -> Tensor:
    """What MLX computes with."""
    shifts = torch.arange(32 // bits) * bits
    levels = (words.to(torch.int64)[..., None] >> shifts) & (2**bits - 1)
    groups = levels.reshape(words.shape[0], -1, GROUP).float()
    return (groups * scale.float()[..., None] + offset.float()[..., None]).reshape(words.shape[0], -1)


class MlxFormat:
    """MLX's layout, whole or quantised."""

    name = "mlx"
    title = "the layout of mlx-lm (Apple silicon), written without MLX"
    types: tuple[str, ...] = tuple(BITS)
    default_type = "q8"

    def plan(self, subject: Subject, type: str) -> FormatPlan:
        """Every tensor's parts."""
        if subject.config.model_type not in FAMILIES:
            raise ModelError(
                f"Models of type '{subject.config.model_type}' are not written for MLX here; these are: {', '.join(FAMILIES)}. "
                "mlx_lm.convert reads what --to merged writes."
            )
        tensors: list[PlannedTensor] = []
        for operation in subject.plan.operations.values():
            tensors += _parts(operation, BITS[type])
        shards = plan_shards(tensors)
        files = tuple(PlannedFile(shard.file_name, sum(t.num_bytes for t in shard.tensors)) for shard in shards)
        note = "It was read back by the definition of MLX's format, not by MLX, which runs on Apple machines alone."
        return FormatPlan(self.name, type, files, (note,), shards)

    def write(self, subject: Subject, plan: FormatPlan, folder: Path, advance: Advance) -> None:
        """Tensor by tensor; the config says how they are packed."""
        bits = BITS[plan.type]
        shards: list[Shard] = plan.details
        for shard in shards:
            with ShardWriter(folder, shard) as writer:
                ready: dict[str, Tensor] = {}
                for target in shard.tensors:
                    if target.name not in ready:
                        ready = _encoded(subject, target.name, bits)
                    writer.write(ready[target.name])
                    advance(target.num_bytes)
        write_index(folder, shards)
        config = merged_config(subject.config, subject.plan, torch.bfloat16)
        write_companions(subject.tokenizer, subject.contract, config, folder)
        if bits < 16:
            path = folder / "config.json"
            content = json.loads(path.read_text(encoding="utf-8"))
            content["quantization"] = content["quantization_config"] = {
                "group_size": GROUP,
                "bits": bits,
                "mode": "affine",
            }
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def verify(self, subject: Subject, plan: FormatPlan, folder: Path, live: Live | None) -> Verified:
        """De-quantised by the format's definition and run by transformers."""
        checks = [stops_as_trained(folder, subject.contract.stop_token_ids)]
        figures: dict[str, Any] = {}
        sentences: tuple[str, ...] = ()
        if live is not None and live.rows:
            expected = live.predictions
            model = _read_back(subject, folder, BITS[plan.type])
            agreement = compare(expected, live.predict_with(model, f"mlx {plan.type}"))
            checks += predictions_agree(agreement, plan.type, f"The MLX model ({plan.type})")
            figures["agreement"] = agreement.to_json()
            sentences = (f"mlx {plan.type} against the live model: {agreement.sentence()}",)
        if live is not None and live.conversations:
            tokenizer = load_tokenizer(ModelSource(folder.name, str(folder), None))
            checks.append(
                tokens_equal(subject.template, tokenizer, live.conversations, "export.tokens", "The exported tokenizer")
            )
        return Verified(checks, figures, sentences)

    def usage(self, subject: Subject, plan: FormatPlan, folder: Path) -> Usage:
        """As mlx-lm does it."""
        return Usage(f"mlx_lm.chat --model {folder}", "talk with it on a Mac")


def _is_packed(operation: Operation, bits: int) -> bool:
    """Matrices whose rows are whole groups; mlx-lm leaves the others, and everything else, as they are."""
    shape = operation.target.shape
    return bits < 16 and len(shape) == 2 and shape[1] % GROUP == 0 and operation.target.name.endswith(".weight")


def _parts(operation: Operation, bits: int) -> list[PlannedTensor]:
    name, shape = operation.target.name, operation.target.shape
    if not _is_packed(operation, bits):
        return [PlannedTensor(name, shape, torch.bfloat16)]
    stem = name.removesuffix(".weight")
    grouped = (shape[0], shape[1] // GROUP)
    return [
        PlannedTensor(name, (shape[0], shape[1] * bits // 32), torch.uint32),
        PlannedTensor(f"{stem}.scales", grouped, torch.bfloat16),
        PlannedTensor(f"{stem}.biases", grouped, torch.bfloat16),
    ]


def _encoded(subject: Subject, part: str, bits: int) -> dict[str, Tensor]:
    """All parts of the tensor that `part` belongs to."""
    operations = subject.plan.operations
    name = part if part in operations else f"{part.rpartition('.')[0]}.weight"
    operation = operations[name]
    value = compute(operation, subject.weights, subject.plan.combination, torch.float32)
    if not _is_packed(operation, bits):
        return {name: value.bfloat16()}
    stem = name.removesuffix(".weight")
    words, scales, offsets = quantise(value, bits)
    return {name: words, f"{stem}.scales": scales, f"{stem}.biases": offsets}


def _read_back(subject: Subject, folder: Path, bits: int) -> Any:
    """The written folder as a model of transformers, in fp32."""
    files = WeightFiles.open(folder)
    config = merged_config(subject.config, subject.plan, torch.float32)
    auto: Any = AutoModelForCausalLM
    model = auto.from_config(config).float().eval()
    state = model.state_dict()
    with torch.no_grad():
        for name, operation in subject.plan.operations.items():
            value = files.read(name)
            if _is_packed(operation, bits):
                stem = name.removesuffix(".weight")
                value = dequantise(value, files.read(f"{stem}.scales"), files.read(f"{stem}.biases"), bits)
            state[name].copy_(value)
    return model
