"""`luthier export` on a trained run: every format verified, what is in the way refused, what fails leaves nothing."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from luthier.cli.app import main
from luthier.config.load import load_recipe
from luthier.errors import CheckFailedError, InputError, LuthierError, ResourceError
from luthier.export import memory, verify
from luthier.export.combine import Combination
from luthier.export.formats import FORMATS
from luthier.export.record import ExportRecord
from luthier.export.weight_files import WeightFiles
from luthier.workflows.export import check_export, export
from luthier.workflows.export_subject import OtherRun
from luthier.workflows.load_run import load_run
from luthier.workflows.train import train
from tests.small_tokenizer import small_tokenizer
from tests.tiny import save_tiny_model, tiny_model, write_chat_rows


def trained(folder: Path, name: str, **sections: Any) -> Path:
    content: dict[str, Any] = {
        "model": {"name": str(folder / "model")},
        "data": {"train": str(folder / "rows.jsonl"), "system_prompt": "Answer 'briefly',\nplease."},
        "run": {"name": name, "folder": str(folder / "runs")},
        "train": {"max_steps": 12, "batch_size": 8, "learning_rate": 5e-3, "num_threads": 1, "device": "cpu"},
        "precision": {"compute": "fp32"},
        "evaluate": {"stop_test_rows": 0, "sample_prompts": 0},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content | sections))
    return Path(train(load_recipe(folder / f"{name}.yaml")).run)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("export")
    save_tiny_model(folder / "model", hidden_size=64, intermediate_size=64)
    write_chat_rows(folder / "rows.jsonl")
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    return trained(place, "tiny")


def test_all_formats_of_an_adapter_run(run: Path) -> None:
    result = export(run, to=["adapter,merged,gguf,ollama"], types=["f32"], force=True)
    assert [each.folder.name for each in result.exports] == ["adapter", "merged", "gguf-f32", "ollama-f32"]
    for each in result.exports:
        assert each.verified
        assert all(check.passed for check in each.checks)
        record = ExportRecord.load(each.folder)
        assert record.verified
        assert {file.path for file in record.files} >= {"README.md", "contract.json"}
    merged = result.exports[1]
    names = {check.name for check in merged.checks}
    assert names >= {"export.untouched", "export.targeted", "export.kl", "export.top1", "export.tokens", "export.stops"}
    assert merged.figures["agreement"]["kl"] < 1e-9
    assert merged.figures["training_kl"] > 1e-4
    card = (merged.folder / "README.md").read_text()
    for words in ("rows.jsonl", "max_steps: 12", "Licence", "| claim |", "Answer 'briefly'"):
        assert words in card
    text = (result.exports[3].folder / "Modelfile").read_text()
    assert 'PARAMETER stop "<|im_end|>"' in text
    assert 'SYSTEM """Answer \'briefly\',\nplease."""' in text


def test_other_programs_see_what_was_trained(run: Path) -> None:
    """transformers alone, without Luthier: same answer, same tokens, the system prompt included."""
    folder = export(run, to=["merged"], force=True).exports[0].folder
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the colour of thing 3?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=False,
    )
    assert "Answer 'briefly',\nplease." in tokenizer.decode(ids[0])
    loaded = load_run(run)
    answer = model.generate(ids, max_new_tokens=24)[0, ids.shape[1] :]
    assert loaded.template.decode(answer.tolist()) == loaded.ask("What is the colour of thing 3?", max_new_tokens=24)


def test_further_formats(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    formats = ["gguf-adapter", "mlx", "bnb-nf4", "bnb-int8"]
    result = export(run, to=formats, types=["bf16", "q8", "q4"], out=tmp_path / "all")
    names = ["gguf-adapter", "mlx-bf16", "mlx-q8", "mlx-q4", "bnb-nf4", "bnb-int8"]
    assert [each.folder.name for each in result.exports] == names
    kl = {each.folder.name: each.figures["agreement"]["kl"] for each in result.exports[1:]}
    assert kl["mlx-bf16"] < kl["mlx-q4"]
    assert 0 < kl["bnb-int8"] < kl["bnb-nf4"] < 0.6
    packed = json.loads((tmp_path / "all" / "bnb-nf4" / "config.json").read_text())["quantization_config"]
    assert packed["bnb_4bit_quant_type"] == "nf4"
    mlx = json.loads((tmp_path / "all" / "mlx-q4" / "config.json").read_text())["quantization"]
    assert (mlx["group_size"], mlx["bits"]) == (64, 4)
    assert not list((tmp_path / "all" / "bnb-nf4").glob(".merged*"))


def test_a_push_is_shown_first_and_offline_is_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = str(tmp_path / "a")
    command = ["export", str(run), "--to", "adapter", "--out", folder, "--json"]
    assert main([*command, "--push", "me/my-model"]) == 0
    push = json.loads(capsys.readouterr().out)["push"]
    assert push["pushed"] is False
    assert push["private"] is True
    assert {"adapter_model.safetensors", "README.md", "export.json"} <= set(push["files"])
    monkeypatch.setenv("HF_TOKEN", "hf_not_a_real_one")
    assert main(["export", "--check", folder, "--push", "me/my-model", "--yes", "--json"]) == 2
    assert "The hub did not take" in (message := json.loads(capsys.readouterr().out)["error"]["message"]) or (
        "HF_HUB_OFFLINE" in message
    )
    assert main([*command, "--force", "--push", "no slashes"]) == 2
    assert main(["export", str(run), "--to", "merged,adapter", "--push", "me/x"]) == 2
    assert main([*command, "--force", "--no-verify", "--push", "me/x"]) == 2


def test_the_help_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--help"]) == 0
    words = capsys.readouterr().out
    for name, form in FORMATS.items():
        assert f" {name} " in words
        assert form.name == name
        assert form.default_type in form.types


def test_a_fully_tuned_run(place: Path) -> None:
    full = trained(place, "full", adapter={"kind": "none"})
    result = export(full, to=["merged", "gguf"], types=["q8_0"])
    assert all(each.verified for each in result.exports)
    with pytest.raises(InputError, match="no adapter"):
        export(full, to=["adapter"])


def test_after_qlora_the_nearer_base_is_taken(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    qlora = trained(place, "qlora", precision={"compute": "fp32", "base": "nf4"})
    result = export(qlora, to=["merged"], out=tmp_path / "m")
    (merged,) = result.exports
    record = ExportRecord.load(tmp_path / "m")
    candidates = record.settings["candidates"]
    # The adapter was trained beside the 4-bit base: merged into what its numbers stand for, it is the same model.
    assert candidates["nf4"]["kl"] < 1e-6 < candidates["own"]["kl"]
    assert candidates["taken"] == "nf4"
    assert record.settings["onto_nf4"] is True
    assert merged.figures["agreement"]["kl"] < 1e-6
    assert "de-quantised NF4 base" in (tmp_path / "m" / "README.md").read_text()
    assert check_export(tmp_path / "m").passed


def test_tokens_that_the_base_never_had(place: Path, tmp_path: Path) -> None:
    """ChatML on a base without its markers: rows are added to a tied embedding and trained as part of the adapter."""
    tokenizer = small_tokenizer(("<|endoftext|>",))
    base = tmp_path / "base"
    tiny_model("llama-tied", vocab_size=len(tokenizer), max_position_embeddings=512).save_pretrained(base)
    tokenizer.save_pretrained(base)
    grown = trained(place, "grown", model={"name": str(base), "chat_template": "chatml"})
    merged, file = export(grown, to=["merged", "gguf"], types=["f32"], out=tmp_path / "out").exports
    rows = WeightFiles.open(merged.folder).tensors["model.embed_tokens.weight"].shape[0]
    assert rows == len(tokenizer) + 2
    assert json.loads((merged.folder / "config.json").read_text())["vocab_size"] == rows
    tokens = AutoTokenizer.from_pretrained(merged.folder)
    assert tokens.convert_tokens_to_ids("<|im_end|>") in range(len(tokenizer), rows)
    assert file.figures["agreement"]["kl"] < 1e-9
    with pytest.raises(LuthierError, match="GGUF adapter"):
        export(grown, to=["gguf-adapter"], out=tmp_path / "lora")


def test_two_runs_become_one_model(place: Path, run: Path) -> None:
    other = trained(place, "other", train={"max_steps": 6, "batch_size": 8, "learning_rate": 5e-3, "seed": 3})
    for method in ("linear", "ties"):
        how = Combination(method, (0.5, 0.7))  # type: ignore[arg-type]
        result = export(
            run, to=["merged"], out=place / method, others=[OtherRun(str(other), 0.7)], combination=how, reporter=None
        )
        assert result.exports[0].figures["agreement"]["kl"] < 1e-9
        assert check_export(place / method).passed


def test_what_is_in_the_way_is_not_touched(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(InputError, match="is not touched"):
            export(run, to=["adapter"], out=tmp_path / "mine", force=force)
    export(run, to=["adapter"], out=tmp_path / "a", verify=False)
    with pytest.raises(InputError, match="--force"):
        export(run, to=["adapter"], out=tmp_path / "a")
    assert export(run, to=["adapter"], out=tmp_path / "a", force=True).exports[0].verified
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "mine"]


def test_a_half_written_folder_is_no_export_and_no_obstacle(run: Path, tmp_path: Path) -> None:
    half = tmp_path / ".a.unfinished"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match="no finished export"):
        check_export(half)
    export(run, to=["adapter"], out=tmp_path / "a", verify=False)
    assert not half.exists()


def test_a_failed_verification_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(verify.KL_LIMITS, "fp32", -1.0)
    with pytest.raises(CheckFailedError, match="nothing was kept"):
        export(run, to=["merged"], out=tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_seen_first(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(ResourceError, match="--out"):
        export(run, to=["merged"], out=tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_seen_first(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000)
    with pytest.raises(ResourceError, match="--no-verify"):
        export(run, to=["merged"], out=tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
    assert not export(run, to=["merged"], out=tmp_path / "m", verify=False).exports[0].verified


def test_an_old_export_is_verified_again(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "m"
    export(run, to=["merged"], out=folder)
    assert main(["export", "--check", str(folder), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["passed"]
    assert result["compared_with_run"]
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert main(["export", "--check", str(folder), "--json"]) == 1
    assert "model.safetensors has other contents" in capsys.readouterr().out


def test_bad_requests_say_what_there_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in [
        (["--to", "ggfu"], "Did you mean 'gguf'?"),
        ([], "adapter"),
        (["--to", "gguf", "--type", "q3_k"], "q4_k_m"),
        (["--to", "merged", "--dtype", "int3"], "bf16"),
        (["--to", "merged", "--weight", "0.5"], "--with"),
        (["--to", "merged", "--with", "nothing-there"], "nothing-there"),
        (["--to", "merged", "--with", "x", "--combine", "ties", "--rank", "3"], "svd"),
        (["--to", "merged", "--density", "0.2"], "--with"),
        (["--to", "gguf", "--dtype", "fp32"], "--type"),
        (["--to", "merged", "--check", "somewhere"], "--push"),
    ]:
        assert main(["export", str(run), *arguments, "--json"]) == 2
        assert words in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main(["export", "--json"]) == 2
    assert "Which run?" in capsys.readouterr().out


def test_rounding_that_eats_the_training_is_refused(place: Path, run: Path, tmp_path: Path) -> None:
    """A training so slight that fp16 has no numbers for it."""
    slight = trained(place, "slight", train={"max_steps": 2, "batch_size": 8, "learning_rate": 1e-7})
    with pytest.raises(CheckFailedError, match="fp32"):
        export(slight, to=["merged"], dtype="bf16", out=tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
