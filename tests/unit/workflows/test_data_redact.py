"""Redacted files: their layout, what is not read, the ledger, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.app import main
from luthier.errors import DataError, InputError
from luthier.workflows.data_redact import data_redact, read_key


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


CALL = {"type": "function", "function": {"name": "mail", "arguments": '{"to": "eve@acme.com", "copies": 1}'}}
CHAT = {
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Mail eve@acme.com"}], "email": "bob@acme.com"},
        {"role": "assistant", "content": None, "reasoning_content": "bob@acme.com?", "tool_calls": [CALL]},
        {"role": "tool", "content": "sent to eve@acme.com"},
        {"role": "assistant", "content": "Done."},
    ],
    "owner": {"mail": "zoe@acme.com"},
    "id": 3,
}


def expected(row: dict[str, Any], **names: str) -> dict[str, Any]:
    text = json.dumps(row)
    for name, tag in names.items():
        text = text.replace(f"{name}@acme.com", tag)
    return json.loads(text)


def test_rows_keep_their_layout_and_calls_are_redacted(tmp_path):
    source = write(tmp_path / "in.jsonl", CHAT)
    result = data_redact([source], tmp_path / "out.jsonl")
    row = expected(CHAT, eve="[EMAIL_1]")
    row["messages"][1]["reasoning_content"] = "[EMAIL_2]?"
    assert read(tmp_path / "out.jsonl") == [row]
    assert result.counts == {"email": 4}
    assert (result.num_rows, result.num_changed, result.ledger) == (1, 1, None)
    assert result.elsewhere == {"messages.email": {"email": 1}, "owner.mail": {"email": 1}}
    result = data_redact([source], tmp_path / "all.jsonl", all_columns=True)
    assert "acme" not in (tmp_path / "all.jsonl").read_text()
    assert (result.counts, result.elsewhere) == ({"email": 6}, {})
    assert read(source) == [CHAT]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": "I am eve@acme.com"}, {"from": "gpt", "value": "Hi"}]},
        {"instruction": "Write", "input": "to eve@acme.com", "output": "ok", "history": [["eve@acme.com", "?"]]},
        {"instruction": "Write", "context": "eve@acme.com", "response": "ok"},
        {"prompt": "eve@acme.com", "completion": "ok"},
        {
            "prompt": [{"role": "user", "content": "eve@acme.com"}],
            "completion": [{"role": "assistant", "content": "a"}],
        },
        {"question": "eve@acme.com?", "answer": "ok"},
        {"text": "of eve@acme.com"},
        {"prompt": "q", "chosen": "eve@acme.com", "rejected": "no"},
        {"chosen": "\n\nHuman: eve@acme.com\n\nAssistant: a", "rejected": "\n\nHuman: eve@acme.com\n\nAssistant: b"},
        {"prompt": "q", "completion": "eve@acme.com", "label": True},
        {"sentence": "eve@acme.com", "label": "mail"},
    ],
)
def test_every_layout(row, tmp_path):
    source = write(tmp_path / "in.jsonl", *[row] * 2)
    data_redact([source], tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl") == [expected(row, eve="[EMAIL_1]")] * 2


def test_mapped_columns_are_read_and_files_share_numbers(tmp_path):
    first = write(tmp_path / "a.jsonl", {"ask": "eve@acme.com", "reply": "x", "note": "bob@acme.com"})
    second = write(tmp_path / "b.jsonl", {"ask": "bob@acme.com", "reply": "eve@acme.com", "note": ""})
    columns = {"prompt": "ask", "completion": "reply"}
    result = data_redact([first, second], tmp_path / "out.jsonl", columns=columns)
    assert [(row["ask"], row["reply"]) for row in read(tmp_path / "out.jsonl")] == [
        ("[EMAIL_1]", "x"),
        ("[EMAIL_2]", "[EMAIL_1]"),
    ]
    assert result.elsewhere == {"note": {"email": 1}}


def test_values_are_written_down_only_when_asked_for(tmp_path):
    source = write(tmp_path / "in.jsonl", CHAT)
    data_redact([source], tmp_path / "out.jsonl")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]
    result = data_redact([source], tmp_path / "two.jsonl", write_ledger=True)
    assert result.ledger == tmp_path / "two.ledger.jsonl"
    assert "eve@acme.com" in result.ledger.read_text()


def test_refusals_leave_nothing(tmp_path):
    unfit = write(tmp_path / "in.jsonl", CHAT, {"messages": 3}, CHAT)
    with pytest.raises(DataError, match=r"in\.jsonl:2"):
        data_redact([unfit], tmp_path / "out.jsonl", write_ledger=True)
    with pytest.raises(InputError, match="no kind"):
        data_redact([unfit], tmp_path / "out.jsonl", kinds=["names"])
    assert [p.name for p in tmp_path.iterdir()] == ["in.jsonl"]
    (tmp_path / "key").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_key(tmp_path / "key")
    with pytest.raises(InputError, match="cannot be read"):
        read_key(tmp_path / "none")


def test_the_command(tmp_path, capsys):
    source = write(tmp_path / "in.jsonl", CHAT)
    out = tmp_path / "out.jsonl"
    assert main(["data", "redact", str(source), str(out), "--kind", "email", "--style", "fake"]) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 rows changed" in shown
    assert "4  email" in shown
    assert "left in column 'owner.mail', which is not read: 1 email (--all-columns replaces them)" in shown
    assert shown.splitlines()[-1] == f"Next: luthier data check {out}"
    assert main(["data", "redact", str(source), str(tmp_path / "x.jsonl"), "--key-file", "k"]) == 2
    assert "--style hash" in capsys.readouterr().err
    (tmp_path / "key").write_text("a long random line")
    keyed = ["--style", "hash", "--key-file", str(tmp_path / "key"), "--json"]
    texts = []
    for name in ("one.jsonl", "two.jsonl"):
        assert main(["data", "redact", str(source), str(tmp_path / name), *keyed]) == 0
        assert json.loads(capsys.readouterr().out)["counts"] == {"email": 4}
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
