"""The verbs that look at runs: bad names are explained before anything heavy is imported; report writes its page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.cli.app import main
from tests.unit.pages.run_folder import write_run


@pytest.mark.parametrize("verb", ["watch", "stop", "chat", "report", "compare"])
def test_an_unknown_run_is_explained(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    assert main([verb, "frist"]) == 2
    assert "Did you mean 'first'?" in capsys.readouterr().err
    assert main([verb, "frist", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "RunError"


def test_watch_stop_and_a_refused_launch_start_without_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "first")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: {name: m}\ndata: {train: a.jsonl}\nrun: {name: first}\n")
    code = (
        "import sys; from luthier.cli.app import main; run, recipe = sys.argv[1:];"
        "assert main(['watch', run]) == 0; assert main(['stop', run]) == 0;"
        "assert main(['train', recipe, '--detach']) == 2;"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run), str(recipe)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "first is not running: finished" in done.stdout
    assert "exists already" in done.stderr


def test_report_is_written_and_opened_where_there_is_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "first")
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    assert main(["report", str(run)]) == 0
    assert opened == []
    assert main(["report", str(run), "--open", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["opened"] is True
    assert opened == [(run / "report.html").as_uri()]
    assert (run / "report.html").is_file()
