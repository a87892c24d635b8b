"""Files of weights and of exports: what is written is what safetensors reads; damage and obstacles are named."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from luthier.errors import InputError, ModelError
from luthier.export.aside import RECORD_FILE, refuse_existing, written_aside
from luthier.export.record import ExportRecord, files_unchanged, hash_folder
from luthier.export.shard_writer import PlannedTensor, ShardWriter, plan_shards, write_index
from luthier.export.weight_files import WeightFiles

TENSORS = {
    "a": torch.arange(12.0).reshape(3, 4),
    "b": torch.arange(5).to(torch.bfloat16),
    "c": torch.arange(6, dtype=torch.int64).reshape(2, 3)[:, ::2],
    "scalar": torch.tensor(3.5, dtype=torch.float16),
}


def write(folder: Path, most_bytes: int) -> list[str]:
    shards = plan_shards([PlannedTensor(n, tuple(t.shape), t.dtype) for n, t in TENSORS.items()], most_bytes)
    for shard in shards:
        with ShardWriter(folder, shard) as writer:
            for target in shard.tensors:
                writer.write(TENSORS[target.name])
    write_index(folder, shards)
    return [shard.file_name for shard in shards]


def test_safetensors_reads_what_was_written(tmp_path: Path) -> None:
    assert write(tmp_path, 10_000) == ["model.safetensors"]
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_shards_and_their_index(tmp_path: Path) -> None:
    files = write(tmp_path, 60)
    assert files == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {"a": files[0], "b": files[0], "c": files[1], "scalar": files[1]}
    weights = WeightFiles.open(tmp_path)
    assert weights.num_parameters == 12 + 5 + 4 + 1
    assert torch.equal(weights.read("c"), TENSORS["c"])
    (tmp_path / files[1]).unlink()
    with pytest.raises(ModelError, match="00002"):
        WeightFiles.open(tmp_path)


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(100)}, tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-8])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        WeightFiles.open(tmp_path)
    with pytest.raises(ModelError, match="no safetensors"):
        WeightFiles.open(tmp_path.parent)


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with contextlib.suppress(KeyboardInterrupt), written_aside(target) as aside:
        (aside / "half").write_text("…")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    for content in ("first", "second"):
        with written_aside(target) as aside:
            (aside / "file").write_text(content)
            assert content == "first" or (target / "file").read_text() == "first"
    assert (target / "file").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_only_exports_are_replaced(tmp_path: Path) -> None:
    refuse_existing(tmp_path / "nothing", force=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    refuse_existing(empty, force=False)
    (empty / "mine").write_text("")
    with pytest.raises(InputError, match="not touched"):
        refuse_existing(empty, force=True)
    (empty / RECORD_FILE).write_text("{}")
    with pytest.raises(InputError, match="--force"):
        refuse_existing(empty, force=False)
    refuse_existing(empty, force=True)


def test_every_change_of_a_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_text("1")
    (tmp_path / "sub" / "b").write_text("2")
    record = ExportRecord("merged", "own", "run", "base", "now", "0", True, hash_folder(tmp_path))
    record.save(tmp_path)
    assert ExportRecord.load(tmp_path) == record
    assert files_unchanged(tmp_path, record.files).passed
    (tmp_path / "sub" / "b").write_text("3")
    assert "sub/b has other contents" in str(files_unchanged(tmp_path, record.files).measured)
    (tmp_path / "sub" / "b").unlink()
    assert "sub/b is missing" in str(files_unchanged(tmp_path, record.files).measured)
    (tmp_path / "sub" / "b").write_text("2")
    (tmp_path / "new").write_text("")
    assert "new was added" in str(files_unchanged(tmp_path, record.files).measured)


@pytest.mark.parametrize("content", ["nonsense", '{"version": 99}', '{"version": 1, "format": "merged"}'])
def test_a_damaged_record_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / RECORD_FILE).write_text(content)
    with pytest.raises(InputError, match=r"export\.json"):
        ExportRecord.load(tmp_path)
