"""The command line: fast help, one JSON object, exit codes, hints for typos, and errors without traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from luthier import __version__
from luthier.cli.app import VERBS, main
from luthier.cli.dispatch import Outcome, dispatch
from luthier.config.load import load_recipe
from luthier.errors import CheckFailedError, Interrupted, RunError

CLI = Path(__file__).parents[3] / "src" / "luthier" / "cli"


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a function as a verb through `dispatch`."""

    def run(body: Callable[[], Any], *, wants_json: bool = False) -> int:
        app = typer.Typer(add_completion=False)
        app.command()(body)
        module = types.ModuleType("fake_verb")
        module.app = app  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "fake_verb", module)
        return dispatch("fake_verb", "luthier fake", [], wants_json=wants_json)

    return run


def raising(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


def test_help_is_there_at_once_and_names_every_verb() -> None:
    command = [sys.executable, "-m", "luthier.cli.app", "--help"]
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert all(name in done.stdout for name in VERBS)
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert min(seconds) <= 0.3


def test_help_of_a_verb_by_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "train"]) == 0
    by_word = capsys.readouterr().out
    assert main(["train", "--help"]) == 0
    assert capsys.readouterr().out == by_word


def test_help_and_light_verbs_import_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; from luthier.cli.app import main; main(['--help']); assert 'rich' not in sys.modules;"
        "main(['runs', '--folder', sys.argv[1]]); main(['recipe', 'show']); main(['models', 'list']);"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"luthier {__version__}\n"
    assert main(["--version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["luthier"] == __version__


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_and_a_short_file(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import_module(VERBS[name].module)
    assert main([name, "--help"]) == 0
    assert "--json" in capsys.readouterr().out
    assert len((CLI / f"{name}.py").read_text().splitlines()) <= 100


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["trian"], "There is no command 'trian'. Did you mean 'train'?"),
        (["--versoin"], "There is no option '--versoin'. Did you mean '--version'?"),
        (["sing"], "Commands: demo, train"),
        (["a.yaml"], "Did you mean 'luthier train a.yaml'?"),
        (["train", "a.yaml", "--epochs", "1"], "Values of the recipe have no dashes: train.epochs=…"),
        (["train", "a.yaml", "--train.learning-rate=1"], "have no dashes: train.learning_rate=…"),
        (["recipe", "check", "--lr=1"], "have no dashes: train.learning_rate=…"),
        (["train", "--overwrit", "x"], "No such option: --overwrit. Did you mean --overwrite?"),
        (["runs", "--jsno"], "Did you mean --json?"),
        (["recipe", "chek", "x"], "Did you mean 'check'"),
        (["recipe"], "Which one? check, schema, show"),
        (["train"], "Nothing to train: give a recipe"),
        (["train", "a.yaml", "--resume", "b"], "give either a recipe or --resume"),
        (["train", "nowhere.yaml"], "There is no file nowhere.yaml."),
        (["train", "--resume", "nobody"], "No run at runs/nobody."),
        (["recipe", "show", "trian"], "Did you mean 'train'?"),
        (["models", "fetch", "gpt"], "See: luthier models list"),
    ],
)
def test_bad_input_ends_with_2_and_a_hint(
    arguments: list[str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    plain = capsys.readouterr()
    assert hint in plain.err
    assert plain.out == ""
    assert "Traceback" not in plain.err
    assert main([*arguments, "--json"]) == 2
    with_json = capsys.readouterr()
    error = json.loads(with_json.out)["error"]
    assert hint in error["message"]
    assert error["type"] in ("UsageError", "InputError", "RecipeError", "RunError", "ModelError")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "exit_code", "name"),
    [
        (RunError("There is no such run."), 2, "RunError"),
        (CheckFailedError("preflight", []), 1, "CheckFailedError"),
        (Interrupted(signal.SIGINT, "Saved at step 3."), 130, "Interrupted"),
        (Interrupted(signal.SIGTERM, "Saved at step 3."), 143, "Interrupted"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (OSError(28, "No space left on device", "/full/x"), 2, "ResourceError"),
    ],
)
def test_errors_map_to_exit_codes(
    verb: Callable[..., int], error: BaseException, exit_code: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verb(raising(error)) == exit_code
    plain = capsys.readouterr()
    assert plain.out == ""
    assert "Traceback" not in plain.err
    assert plain.err.startswith(("error: ", "stopped: "))
    assert verb(raising(error), wants_json=True) == exit_code
    assert json.loads(capsys.readouterr().out)["error"]["type"] == name


def test_a_bug_keeps_its_traceback_and_still_is_json(
    verb: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError):
        verb(raising(ZeroDivisionError("ours")), wants_json=True)
    assert json.loads(capsys.readouterr().out) == {"error": {"type": "ZeroDivisionError", "message": "ours"}}


def test_json_is_the_only_thing_on_stdout(verb: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> Outcome:
        print("a library says hello")
        return Outcome({"seconds": 1.5}, lambda console: console.print("[bold] took 1.5 s"), exit_code=1)

    assert verb(body, wants_json=True) == 1
    written = capsys.readouterr()
    assert json.loads(written.out) == {"seconds": 1.5}
    assert "hello" in written.err
    assert verb(body) == 1
    assert capsys.readouterr().out == "a library says hello\n[bold] took 1.5 s\n"  # values are no markup


def test_sigterm_ends_with_143_and_the_handler_is_put_back(verb: Callable[..., int]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def body() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    assert verb(body) == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_recipe_check_and_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("model: {name: smollm2-135m-instruct}\ndata: {train: a.jsonl}\nrun: {name: r}\n")
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    assert main(["recipe", "check", str(path), "train.epochs=1"]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == f"# No fault found. Next: luthier train {path} train.epochs=1"
    assert load_recipe(yaml.safe_load(text)).recipe.train.epochs == 1, "what is shown is a recipe"
    assert "  epochs: 1.0  # override" in text
    assert f"  train: [{tmp_path}/a.jsonl]  # r.yaml:2" in text
    assert main(["recipe", "check", str(path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["recipe"]["train"]["learning_rate"] == 2e-4
    assert content["origins"]["train.learning_rate"] == "default for adapters"
    assert main(["recipe", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Luthier recipe"
