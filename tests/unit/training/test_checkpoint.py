"""Checkpoints survive what disks and people do to them."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from luthier.errors import ResourceError, RunError
from luthier.training import checkpoint
from luthier.training.checkpoint import CheckpointStore, Position, refuse_mismatch
from luthier.training.optim import MasterAdamW


def optimizer(value: float = 0.0) -> MasterAdamW:
    params = {"w": nn.Parameter(torch.full((4, 4), float(value))), "b": nn.Parameter(torch.full((4,), float(value)))}
    return MasterAdamW(params, betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.0, max_grad_norm=1.0)


def position(step: int) -> Position:
    return Position(step, 1.0, 0, 2, {"data": "abc"}, 1.5)


def folders(store: CheckpointStore) -> set[str]:
    return {p.name for p in store.folder.iterdir() if p.is_dir()}


def test_last_and_best_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, None)):
        store.save(optimizer(step), position(step), loss)
    assert (store.last.step, store.best.step, store.best.loss) == (4, 2, 1.0)
    assert folders(store) == {"step-000002", "step-000004"}


def test_restore_brings_back_weights_and_random_numbers(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    saved = optimizer(7.0)
    store.save(saved, position(3), None)
    expected = torch.rand(3)
    torch.rand(100)
    fresh = optimizer(0.0)
    restored = store.restore(store.last, fresh, rng=True)
    assert restored == position(3)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(fresh.parameters["w"], saved.parameters["w"])


def test_a_crash_while_writing_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    store.save(optimizer(1.0), position(1), 1.0)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt  # like a kill: no clean-up code of ours runs after it

    monkeypatch.setattr(checkpoint, "write_json", crash)
    with pytest.raises(KeyboardInterrupt):
        store.save(optimizer(2.0), position(2), 0.5)
    monkeypatch.undo()
    again = CheckpointStore(tmp_path)
    assert again.last.step == 1
    fresh = optimizer()
    again.restore(again.last, fresh, rng=False)
    assert torch.equal(fresh.parameters["w"], torch.full((4, 4), 1.0))
    again.save(optimizer(3.0), position(3), 0.1)
    assert folders(again) == {"step-000003"}


def test_a_full_disk_is_said_and_the_old_checkpoint_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    store.save(optimizer(1.0), position(1), None)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(ResourceError, match="No space left"):
        store.save(optimizer(2.0), position(2), None)
    assert folders(store) == {"step-000001"}


def test_what_reads_back_differently_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    store.save(optimizer(1.0), position(1), None)
    real = checkpoint.save_file
    monkeypatch.setattr(
        checkpoint, "save_file", lambda tensors, path: real({**tensors, "master/w": torch.zeros(4, 4)}, path)
    )
    with pytest.raises(ResourceError, match="master/w reads back differently"):
        store.save(optimizer(2.0), position(2), None)
    assert store.last.step == 1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(optimizer(), position(1), None)
    file = tmp_path / "step-000001" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(RunError, match="step-000001"):
        store.restore(store.last, optimizer(), rng=True)


def test_rubbish_of_a_crash_is_swept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    (tmp_path / ".step-000009.tmp").mkdir()
    (tmp_path / "step-000009").mkdir()
    store.save(optimizer(), position(1), None)
    assert folders(store) == {"step-000001"}
    assert json.loads((tmp_path / "index.json").read_text())["last"]["folder"] == "step-000001"


def test_saving_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(optimizer(1.0), position(1), None)
    store.save(optimizer(2.0), position(1), None)
    fresh = optimizer()
    store.restore(store.last, fresh, rng=False)
    assert torch.equal(fresh.parameters["w"], torch.full((4, 4), 2.0))


def test_changed_data_are_refused_by_name() -> None:
    refuse_mismatch({"data": "a", "steps": "4"}, {"data": "a", "steps": "4"})
    with pytest.raises(RunError, match=r"Changed since the checkpoint: data\.") as refused:
        refuse_mismatch({"data": "a", "steps": "4"}, {"data": "b", "steps": "4"})
    assert "run.name" in str(refused.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_said(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError):
        store.save(optimizer(), position(1), None)


def test_a_loss_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step, loss in ((1, float("nan")), (2, 0.0), (3, 0.5)):
        store.save(optimizer(step), position(step), loss)
    assert (store.best.step, store.best.loss) == (2, 0.0)


def test_validation_losses_come_back(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    saved = replace(position(3), validation_losses=(2.5, 1.25))
    store.save(optimizer(), saved, 1.25)
    assert store.restore(store.last, optimizer(), rng=False) == saved


def test_the_criterion_is_decisive_where_there_is_one(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for step, loss, criterion in ((1, 3.0, -0.5), (2, 1.0, -0.2), (3, 2.0, -0.5), (4, 2.5, float("nan"))):
        store.save(optimizer(step), position(step), loss, criterion)
    best = store.best
    assert (best.step, best.loss, best.criterion, best.decisive) == (1, 3.0, -0.5, -0.5), "of equals the first stays"


def test_checkpoints_of_earlier_versions_are_decided_by_their_losses(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(optimizer(1.0), replace(position(1), validation_losses=(2.0, 1.5)), 1.5)
    index = json.loads((tmp_path / "index.json").read_text())
    for entry in index.values():
        del entry["criterion"]
    (tmp_path / "index.json").write_text(json.dumps(index))
    state = tmp_path / "step-000001/state.json"
    content = json.loads(state.read_text())
    del content["criteria"], content["wants_stop"]
    state.write_text(json.dumps(content))
    read = store.read_position(store.last)
    assert (read.criteria, read.wants_stop) == ((2.0, 1.5), False)
    assert store.best.decisive == 1.5
