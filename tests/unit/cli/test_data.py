"""`luthier data`: sub-commands are imported when asked for; what they print."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from luthier.cli.app import main
from luthier.cli.data import COMMANDS
from luthier.cli.show_tokens import show_token_rows
from luthier.data.token_view import TokenRow
from tests.tiny import save_tiny_model, write_chat_rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data-cli")
    save_tiny_model(folder / "model")
    write_chat_rows(folder / "in.jsonl")
    return folder


def test_one_sub_command_does_not_import_the_others() -> None:
    code = (
        "import sys; from luthier.cli.app import main; main(['data', 'split', '--help']);"
        "print([m for m in sys.modules if m.startswith('luthier.cli.data_')], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['luthier.cli.data_split'] False"


def test_help_names_all_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    for name in COMMANDS:
        assert main(["data", name, "--help"]) == 0
        assert "With --json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data"], "Which one? inspect, show"),
        (["data", "inpect"], "Did you mean 'inspect'?"),
        (["data", "split"], "IN"),
    ],
)
def test_usage(arguments, expected, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert expected in capsys.readouterr().err


def test_inspect_prints_figures_and_costs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "inspect", str(place / "in.jsonl"), "--model", str(place / "model")]) == 0
    shown = capsys.readouterr().out
    for words in (
        "messages: 48 of 48 rows",
        "columns: messages",
        "User turns      1: 100.0 %",
        "max_length",
        "512 (model)",
    ):
        assert words in shown
    assert main(["data", "inspect", str(place / "in.jsonl"), "--model", str(place / "model"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lengths"]["num_measured"] == 48


def test_show_prints_marks_without_colours_and_writes_a_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = place / "row.html"
    arguments = ["data", "show", str(place / "in.jsonl"), "--model", str(place / "model"), "--html", str(page)]
    assert main([*arguments, "--row", "3"]) == 0
    shown = capsys.readouterr().out
    assert "in.jsonl:3: " in shown
    assert "[<|im_end|>|2] " in shown
    assert "<|im_start|>|1 " in shown
    html = page.read_text()
    assert '<mark class="learnt">' in html
    assert 'title="2">&lt;|im_end|&gt;</span>' in html
    assert "http" not in html.split("</head>")[1]


def test_colours_say_the_same() -> None:
    row = TokenRow("f:1", 3, 1, (5, 6, 7), ("a", "\n", "b"), (False, False, True), 0)
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80, legacy_windows=False)
    show_token_rows(console, [row])
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "green is learnt" in shown
    assert "\x1b[30;102ma" not in shown
    assert "\x1b[30;42mb\x1b[0m" in shown


def test_convert_split_dedup(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(place / "in.jsonl")
    assert main(["data", "convert", source, str(place / "out.json"), "--to", "alpaca"]) == 0
    assert "48 of 48 rows as alpaca" in capsys.readouterr().out
    assert main(["data", "split", source, "--out", str(place / "sides"), "--validation", "0.25"]) == 0
    assert main(["data", "dedup", source, str(place / "less.jsonl"), "--near", "0.8", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["num_kept"] + result["num_equal"] + result["num_near"] == 48
    assert main(["data", "convert", source, str(place / "out.json"), "--to", "alpaca"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["data", "inspect", source, "--column", "x"]) == 2
    assert "part=column" in capsys.readouterr().err
