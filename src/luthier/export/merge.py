"""Puts adapters into the weights of their base: first a plan, one operation per tensor, then its application, one at a time.

No model is built with weights and no more than one tensor (and its fp32 copies) is in memory, so a merge takes as much
memory as the largest tensor, not as the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from luthier.errors import ModelError
from luthier.export.changes import Change, EmbeddingLora, NewModule, NewRows, Scaling
from luthier.export.combine import Combination, combine_updates
from luthier.export.peft_folder import PeftFolder
from luthier.export.shard_writer import SHARD_BYTES, PlannedTensor, Shard, ShardWriter, plan_shards, write_index
from luthier.export.weight_files import WeightFiles


class NetworkNames(NamedTuple):
    """Names of a model's tensors that need care.

    Attributes:
        embedding: Of the input embedding.
        head: Of the output head.
        is_tied: Whether both are one tensor.
        linear: Weights of linear layers but the head: what a quantised base stores in fewer bits.
    """

    embedding: str
    head: str
    is_tied: bool
    linear: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Operation:
    """One tensor of the result.

    Attributes:
        target: What is written.
        source: The base's tensor that it comes from.
        changes: Per adapter, what is done to it; all empty for a copy.
        num_rows: Rows of the result; more than the base has where tokens were added.
    """

    target: PlannedTensor
    source: str
    changes: tuple[tuple[Change, ...], ...]
    num_rows: int

    @property
    def is_copy(self) -> bool:
        """Whether nothing but the number format may change."""
        return not any(self.changes)


@dataclass(frozen=True, eq=False)
class MergePlan:
    """All that a merge will write.

    Attributes:
        shards: The files.
        operations: By the name of the target.
        is_tied: Whether embedding and head are one tensor in the result.
        vocab_rows: Rows of the embedding.
        embedding: Its name.
        combination: How several adapters become one; None for one or none.
    """

    shards: tuple[Shard, ...]
    operations: Mapping[str, Operation]
    is_tied: bool
    vocab_rows: int
    embedding: str
    combination: Combination | None

    @property
    def num_bytes(self) -> int:
        """Of all weights that are written."""
        return sum(operation.target.num_bytes for operation in self.operations.values())

    @property
    def changed(self) -> frozenset[str]:
        """Names of the tensors that the adapters change."""
        return frozenset(name for name, operation in self.operations.items() if not operation.is_copy)


def network_names(config: Any) -> NetworkNames:
    """Read from a model without weights."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    names = {id(module): name for name, module in model.named_modules()}
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    is_tied = bool(config.get_text_config().tie_word_embeddings)
    linear = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head}
    return NetworkNames(f"{names[id(embedding)]}.weight", f"{names[id(head)]}.weight", is_tied, frozenset(linear))


def plan_merge(
    weights: WeightFiles,
    names: NetworkNames,
    adapters: Sequence[PeftFolder],
    *,
    num_tokens: int,
    combination: Combination | None = None,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> MergePlan:
    """Decide every tensor of the result; nothing is computed.

    Args:
        weights: Of the base, or of a fully tuned model.
        names: Of the base.
        adapters: What is put in; none only rewrites the weights.
        num_tokens: Of the tokenizer: the embedding gets at least so many rows.
        combination: For several adapters.
        dtype: Of the floating-point tensors written; None keeps each one's own.
        shard_bytes: Largest file.

    Raises:
        ModelError: An adapter changes what the base does not have, or added tokens have no trained rows.
    """
    changes = _changes_by_tensor(weights, names, adapters)
    has_head = names.head in weights
    unties = names.is_tied and _breaks_tie(names, changes)
    sources = {tensor.name: tensor.name for tensor in weights if not (names.is_tied and tensor.name == names.head)}
    if unties or (not names.is_tied and not has_head):
        sources[names.head] = names.embedding
    if names.embedding not in weights:
        raise ModelError(f"The base's files have no {names.embedding}, which its config promises.")
    old_rows = weights.tensors[names.embedding].shape[0]
    vocab_rows = max(old_rows, num_tokens)
    operations: dict[str, Operation] = {}
    for name, source in sources.items():
        stored = weights.tensors[source]
        grows = name in (names.embedding, names.head)
        num_rows = vocab_rows if grows else (stored.shape[0] if stored.shape else 0)
        shape = (num_rows, *stored.shape[1:]) if stored.shape else ()
        own = changes.get(name, ((),) * len(adapters))
        if num_rows > old_rows and grows:
            _require_rows(name, range(old_rows, num_rows), own, len(adapters))
        target = PlannedTensor(name, shape, (dtype or stored.dtype) if stored.dtype.is_floating_point else stored.dtype)
        operations[name] = Operation(target, source, own, num_rows)
    shards = plan_shards([operation.target for operation in operations.values()], shard_bytes)
    return MergePlan(tuple(shards), operations, names.is_tied and not unties, vocab_rows, names.embedding, combination)


def _changes_by_tensor(
    weights: WeightFiles, names: NetworkNames, adapters: Sequence[PeftFolder]
) -> dict[str, tuple[tuple[Change, ...], ...]]:
    found: dict[str, list[tuple[Change, ...]]] = {}
    for index, adapter in enumerate(adapters):
        for name, changes in adapter.changes.items():
            if name not in weights and name != names.head:
                if all(isinstance(change, Scaling) for change in changes) and name.endswith(".bias"):
                    continue  # IA³ scales a bias where there is one
                raise ModelError(
                    f"The adapter in {adapter.path} changes {name}, which the base's files do not have. It was trained on "
                    f"another model ({adapter.base or 'it does not say which'}), or the base keeps its weights under other names."
                )
            found.setdefault(name, [()] * len(adapters))[index] = changes
    return {name: tuple(per_adapter) for name, per_adapter in found.items()}


def _breaks_tie(names: NetworkNames, changes: Mapping[str, tuple[tuple[Change, ...], ...]]) -> bool:
    """Whether embedding and head, one tensor in the base, differ once the adapter is in: trained rows are shared, as in PEFT."""
    on_embedding = [c for per_adapter in changes.get(names.embedding, ()) for c in per_adapter]
    return names.head in changes or any(isinstance(c, NewModule | EmbeddingLora) for c in on_embedding)


def _require_rows(name: str, rows: range, changes: tuple[tuple[Change, ...], ...], num_adapters: int) -> None:
    trained = {
        token
        for per_adapter in changes
        for change in per_adapter
        if isinstance(change, NewRows)
        for token in change.token_ids
    }
    missing = [row for row in rows if row not in trained]
    whole = any(isinstance(change, NewModule) for per_adapter in changes for change in per_adapter)
    if missing and not whole:
        raise ModelError(
            f"The tokenizer has tokens that neither the base nor the adapter has a row for in {name} (the first is token "
            f"{missing[0]}), so their weights would be random."
        )
    if num_adapters > 1:
        raise ModelError(
            "An adapter trains tokens that the base does not have, so it cannot be combined with others: there is no base row "
            "that their changes could be measured from. Export it alone."
        )


def compute(
    operation: Operation, weights: WeightFiles, combination: Combination | None, dtype: torch.dtype | None = None
) -> Tensor:
    """The tensor of one operation, rounded once: to `dtype`, or to what a merge writes."""
    dtype = dtype or operation.target.dtype
    stored = weights.read(operation.source)
    if operation.is_copy and operation.num_rows == (stored.shape[0] if stored.ndim else 0):
        return stored.to(dtype)
    base = stored.float()
    if stored.ndim and operation.num_rows > stored.shape[0]:
        added = base.new_zeros((operation.num_rows - stored.shape[0], *stored.shape[1:]))
        base = torch.cat([base, added])
    changed = [(_apply(base, changes), index) for index, changes in enumerate(operation.changes) if changes]
    if combination is None or len(operation.changes) == 1:
        result = changed[0][0] if changed else base
    else:
        updates = [tensor - base for tensor, _ in changed]
        own = [combination.weights[index] for _, index in changed]
        result = base + combine_updates(updates, own, combination, operation.target.name)
    return result.to(dtype)


def _apply(base: Tensor, changes: Sequence[Change]) -> Tensor:
    for change in changes:
        base = change.apply(base)
    return base


def apply_merge(
    plan: MergePlan, weights: WeightFiles, folder: Path, on_tensor: Callable[[int], None] | None = None
) -> None:
    """Write the planned files into an existing folder.

    Args:
        plan: From `plan_merge`.
        weights: Of the base.
        folder: Where to.
        on_tensor: Called with the bytes of each tensor that was written.

    Raises:
        ModelError: An adapter's shapes do not fit.
    """
    with torch.no_grad():
        for shard in plan.shards:
            with ShardWriter(folder, shard) as writer:
                for target in shard.tensors:
                    writer.write(compute(plan.operations[target.name], weights, plan.combination))
                    if on_tensor is not None:
                        on_tensor(target.num_bytes)
    write_index(folder, plan.shards)


def only_weights_changed(plan: MergePlan, base: WeightFiles, merged: WeightFiles) -> list[str]:
    """What of a written merge is not as it should be, in words: changed without a reason, or not changed where it should be.

    A weight that an adapter changes may stay equal where the change is exactly zero or less than the format can hold: those are
    counted apart by `unmoved`.
    """
    wrong = [f"{name} is missing" for name in plan.operations if name not in merged]
    wrong += [f"{tensor.name} is not of this model" for tensor in merged if tensor.name not in plan.operations]
    for name, operation in plan.operations.items():
        if name in merged and operation.is_copy:
            source = base.read(operation.source).to(operation.target.dtype)
            if not torch.equal(merged.read(name)[: len(source)] if source.ndim else merged.read(name), source):
                wrong.append(f"{name} changed, though no adapter targets it")
    return wrong


def unmoved(plan: MergePlan, base: WeightFiles, merged: WeightFiles) -> list[str]:
    """Targeted weights that are equal to the base's."""
    equal: list[str] = []
    for name in sorted(plan.changed):
        source = base.read(plan.operations[name].source).to(plan.operations[name].target.dtype)
        written = merged.read(name)
        if written.shape == source.shape and torch.equal(written, source):
            equal.append(name)
    return equal


def merged_config(config: Any, plan: MergePlan, dtype: torch.dtype) -> Any:
    """The config of the result: rows of the vocabulary, whether head and embedding are one, number format."""
    changed = copy.deepcopy(config)
    text = changed.get_text_config()
    text.vocab_size = plan.vocab_rows
    text.tie_word_embeddings = changed.tie_word_embeddings = plan.is_tied
    text.dtype = changed.dtype = dtype
    return changed
