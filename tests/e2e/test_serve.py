"""`luthier serve` with trained runs: tokens of the training, adapters swapped, a gentle end, mistakes that are said."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from luthier.models.contract import InferenceContract
from luthier.reporter import Silent
from luthier.serve.answering import chat_requests
from luthier.serve.limits import Limits
from luthier.serve.read_request import read_chat
from luthier.workflows.load_served import load_served
from tests.serving import Place, chat_body, eventually
from tests.tiny import save_tiny_model, write_chat_rows


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs one (trained), two (the same with other weights), foreign (of another base)."""
    folder = tmp_path_factory.mktemp("serve")
    save_tiny_model(folder / "model")
    write_chat_rows(folder / "rows.jsonl")
    recipe = {
        "model": {"name": str(folder / "model")},
        "data": {"train": str(folder / "rows.jsonl")},
        "run": {"name": "one", "folder": str(folder / "runs")},
        "train": {"max_steps": 3, "batch_size": 8, "learning_rate": 3e-2, "num_threads": 1},
        "precision": {"compute": "fp32"},
        "evaluate": {"stop_test_rows": 0, "max_new_tokens": 8},
    }
    code = (
        "import json, sys; from luthier.config.load import load_recipe; from luthier.workflows.train import train\n"
        "train(load_recipe(json.loads(sys.argv[1])))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LUTHIER_CACHE": str(folder / "cache")}
    subprocess.run([sys.executable, "-c", code, json.dumps(recipe)], capture_output=True, env=environment, check=True)
    for name in ("two", "foreign"):
        shutil.copytree(folder / "runs" / "one", folder / "runs" / name)
    weights = folder / "runs" / "two" / "adapter" / "adapter_model.safetensors"
    generator = torch.Generator().manual_seed(0)
    changed = {k: v + 0.3 * torch.randn(v.shape, generator=generator) for k, v in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    shutil.copytree(folder / "model", folder / "other model")
    resolved = folder / "runs" / "foreign" / "recipe.resolved.yaml"
    resolved.write_text(resolved.read_text().replace(str(folder / "model"), str(folder / "other model")))
    return folder / "runs"


def test_an_export_is_asked_by_the_contract_that_lies_in_it(runs: Path, tmp_path: Path) -> None:
    export = tmp_path / "export"
    shutil.copytree(runs.parent / "model", export)
    content = json.loads((runs / "one" / "adapter" / "contract.json").read_text())
    (export / "contract.json").write_text(json.dumps(content | {"max_new_tokens": 77, "temperature": 0.3}))
    (model,) = load_served([], str(export), runs_folder=runs, device="cpu", reporter=Silent()).served
    wish = read_chat({"model": "base", "messages": [{"role": "user", "content": "hi"}]}, Limits())
    (request,) = chat_requests(model, wish, Limits(), 512)
    assert (request.max_new_tokens, request.temperature) == (77, 0.3)


@contextmanager
def command(runs: Path, *arguments: str) -> Iterator[tuple[Place, subprocess.Popen[str]]]:
    """`luthier serve` on a port of its own."""
    line = [sys.executable, "-m", "luthier", "serve", *arguments, "--port", "0", "--runs", str(runs), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LUTHIER_CACHE": str(runs.parent / "cache")}
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        for printed in process.stderr:
            if found := re.search(r"Serving at http://127\.0\.0\.1:(\d+)/v1", printed):
                yield Place(None, None, None, None, int(found[1])), process  # type: ignore[arg-type]
                break
        else:
            raise AssertionError(process.communicate())
    finally:
        process.kill()
        process.communicate()


def test_served_tokens_are_those_that_were_trained(runs: Path) -> None:
    """What the training recorded, token by token, against what the server computes on for the same messages."""
    loaded = load_served([str(runs / "one")], None, runs_folder=runs, device=None, reporter=Silent())
    rows = (runs.parent / "rows.jsonl").read_text().splitlines()
    viewed = json.loads((runs / "one" / "token_view.json").read_text())
    assert viewed
    for view in viewed:
        *asked, _ = json.loads(rows[int(view["source"].rpartition(":")[2]) - 1])["messages"]
        first_learnt = view["trained"].index(True)
        last_learnt = view["ids"][len(view["ids"]) - 1 - view["trained"][::-1].index(True)]
        for model in loaded.served:
            wish = read_chat({"model": model.name, "messages": asked}, Limits())
            (request,) = chat_requests(model, wish, Limits(), 512)
            assert list(request.prompt_ids) == view["ids"][:first_learnt]
            assert last_learnt in request.stop_ids
            assert request.stop_ids == InferenceContract.load(runs / "one" / "adapter").stop_ids


@pytest.mark.slow
def test_the_command_serves_swaps_and_drains(runs: Path) -> None:
    with command(runs, "one", "--max-output-tokens", "400", "--max-prompt-tokens", "100") as (place, process):
        assert [m["id"] for m in place.ask("GET", "/v1/models").json["data"]] == ["base", "one"]
        assert place.chat("one", "hi", max_tokens=3).status == 200
        assert place.ask("POST", "/v1/adapters", {"run": "two"}).status == 201
        assert place.ask("POST", "/v1/adapters", {"run": "two"}).status == 409
        foreign = place.ask("POST", "/v1/adapters", {"run": "foreign"})
        assert foreign.status == 400
        assert "another base" in foreign.error["message"]
        assert str(runs.parent) not in foreign.error["message"]
        said = {
            name: place.chat(name, "Colour?", max_tokens=20, temperature=0).json["choices"][0]["message"]["content"]
            for name in ("base", "one", "two")
        }
        assert said["two"] != said["one"]
        listed = place.ask("GET", "/v1/adapters").json["data"]
        assert {entry["run"]: entry["loaded"] for entry in listed} == {"one": True, "two": True, "foreign": False}
        assert place.ask("DELETE", "/v1/adapters/two").status == 200
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(place.stream, chat_body("one", "Go on", max_tokens=390, temperature=2, seed=1))
            eventually(lambda: b"luthier_active_answers 1" in place.ask("GET", "/metrics").body)
            process.send_signal(signal.SIGTERM)
            chunks = running.result()
        assert "error" not in chunks[-1]
        assert chunks[-1]["choices"][0]["finish_reason"] in ("length", "stop")
        stdout, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert json.loads(stdout)["models"] == ["base", "one"]
        with pytest.raises(ConnectionRefusedError):
            place.ask("GET", "/health")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["one", "--host", "0.0.0.0"], "no key is set"),
        (["nothing-like-it"], "No run at"),
        ([], "Name a run"),
        (["one", "one"], "named twice"),
        (["one", "foreign"], "another base"),
        (["one", "--base", "{other}"], "was trained on"),
        (["one", "--api-key-file", "/nowhere"], "cannot be read"),
    ],
)
def test_what_cannot_be_served_is_said(
    runs: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from luthier.cli.app import main

    monkeypatch.setenv("LUTHIER_CACHE", str(runs.parent / "cache"))
    arguments = [argument.replace("{other}", str(runs.parent / "other model")) for argument in arguments]
    assert main(["serve", *arguments, "--port", "0", "--runs", str(runs), "--json"]) == 2
    assert words in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_port_in_use_is_known_before_anything_is_loaded(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from luthier.cli.app import main

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "one", "--port", str(taken.getsockname()[1]), "--runs", str(runs), "--json"]) == 2
    captured = capsys.readouterr()
    assert "cannot be used" in json.loads(captured.out)["error"]["message"]
    assert "Load" not in captured.err
