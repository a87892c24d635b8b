"""The keys and values that generation keeps between steps, and the three things it does with them besides appending:
start a batch from a shared prefix, drop finished rows, cut off columns that are padding in every row that is left.

Every layer keeps its whole history, sliding-window layers too: their masks bound what is seen, and only a whole history
can be shifted from a shared prefix into left-padded rows.

Shape letters: R rows, H key-value heads, T slots, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

SPARE_SLOTS = 64


class RoomyLayer(DynamicLayer):
    """A `DynamicLayer` with spare slots behind the last: a step writes one slot instead of copying the whole history."""

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *args: object,  # noqa: ARG002 - what other kinds of layers are told
        **kwargs: object,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Append the new slots; returns the whole history as views of the buffers."""
        used = self.get_seq_length()
        end = used + key_states.shape[-2]
        if not self.is_initialized or end > self._key_buffer.shape[-2]:
            self._make_room(key_states, value_states, used, end + SPARE_SLOTS)
        self._key_buffer[:, :, used:end] = key_states
        self._value_buffer[:, :, used:end] = value_states
        self.keys, self.values = self._key_buffer[:, :, :end], self._value_buffer[:, :, :end]
        return self.keys, self.values

    def _make_room(self, key_states: Tensor, value_states: Tensor, used: int, room: int) -> None:
        rows, heads = key_states.shape[:2]
        key_buffer = key_states.new_empty(rows, heads, room, key_states.shape[-1])
        value_buffer = value_states.new_empty(rows, heads, room, value_states.shape[-1])
        if used:
            assert self.keys is not None
            assert self.values is not None
            key_buffer[:, :, :used], value_buffer[:, :, :used] = self.keys, self.values
        self._key_buffer, self._value_buffer = key_buffer, value_buffer
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True

    def keep(self, rows: Tensor, first_slot: int) -> None:
        """Keep these rows from this slot on."""
        used = self.get_seq_length()
        if not used:
            return
        self._key_buffer = self._key_buffer.index_select(0, rows)[:, :, first_slot:]
        self._value_buffer = self._value_buffer.index_select(0, rows)[:, :, first_slot:]
        end = used - first_slot
        self.keys, self.values = self._key_buffer[:, :, :end], self._value_buffer[:, :, :end]


def new_cache() -> Cache:
    """An empty cache; layers appear with the first forward pass."""
    return Cache(layer_class_to_replicate=RoomyLayer)


def keep_rows(cache: Cache, rows: Sequence[int], first_slot: int) -> None:
    """Drop all other rows, and all slots before `first_slot`."""
    for layer in cache.layers:
        assert isinstance(layer, RoomyLayer)
        layer.keep(torch.tensor(rows, device=layer.device), first_slot)


def spread_prefix(prefix: Cache, num_slots: int, paddings: Sequence[int]) -> Cache:
    """Cache of a left-padded batch after its first `num_slots` slots, from the cache of the prefix that all rows share.

    Row r holds `paddings[r]` slots of padding and then the prefix as far as the slots reach; what of the prefix does not
    fit is computed again with the row's own tokens, where the row would otherwise have had padding. The result is what
    a forward pass over the left-padded batch would have left, so masks by slot distance (sliding windows) stay right.
    """
    cache = new_cache()
    for index, layer in enumerate(prefix.layers):
        assert isinstance(layer, RoomyLayer)
        slots_T = torch.arange(num_slots, device=layer.device)
        padding_R = torch.tensor(paddings, device=layer.device)
        assert layer.keys is not None
        assert layer.values is not None
        # Slots of padding get the first token's entries: the mask hides them, they only have to be finite.
        source_RT = (slots_T[None, :] - padding_R[:, None]).clamp(min=0)
        cache.update(_gather(layer.keys, source_RT), _gather(layer.values, source_RT), index)
    return cache


def _gather(states_1HTD: Tensor, source_RT: Tensor) -> Tensor:
    gathered_HND = states_1HTD[0].index_select(1, source_RT.flatten())
    return gathered_HND.unflatten(1, source_RT.shape).transpose(0, 1)
