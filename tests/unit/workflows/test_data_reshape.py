"""convert, split and dedup: what is written, what is refused, and that nothing is half written."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from luthier.data import any_rows
from luthier.data.prepare import read_files
from luthier.data.split import split
from luthier.errors import DataError, InputError
from luthier.workflows.data_convert import data_convert
from luthier.workflows.data_dedup import data_dedup, dropped_path
from luthier.workflows.data_split import data_split
from tests.tiny import write_chat_rows


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_convert_keeps_columns_that_no_layout_reads(tmp_path):
    source = write(tmp_path / "in.jsonl", {"id": 7, "question": "q", "answer": "a"})
    result = data_convert([source], tmp_path / "out.jsonl", "messages")
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert read(tmp_path / "out.jsonl") == [{"messages": messages, "id": 7}]
    assert (result.num_read, result.num_written, result.losses) == (1, 1, ())


def test_convert_names_what_would_be_lost_and_writes_only_when_told(tmp_path):
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "reasoning_content": "t"}]
    odd = [{"role": "user", "content": "q"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    source = write(tmp_path / "in.jsonl", {"messages": chat}, {"messages": odd}, {"messages": chat, "text": "x"})
    with pytest.raises(DataError) as caught:
        data_convert([source], tmp_path / "out.jsonl", "alpaca")
    message = str(caught.value)
    assert f"reasoning: 2 rows, first {source}:1" in message
    assert f"rows that are not questions and answers in turn: 1 rows, first {source}:2" in message
    assert f"column 'text': 1 rows, first {source}:3" in message
    assert "--allow-loss" in message
    assert names(tmp_path) == ["in.jsonl"]
    result = data_convert([source], tmp_path / "out.jsonl", "alpaca", allow_loss=True)
    assert read(tmp_path / "out.jsonl") == [{"instruction": "q", "input": "", "output": "a"}] * 2
    assert (result.num_read, result.num_written) == (3, 2)
    assert {loss.what: loss.num_rows for loss in result.losses} == {
        "reasoning": 2,
        "rows that are not questions and answers in turn": 1,
        "column 'text'": 1,
    }


def test_prompts_are_texts_where_all_can_be(tmp_path):
    plain, system = {"instruction": "q", "output": "a"}, {"instruction": "q", "output": "a", "system": "s"}
    source = write(tmp_path / "in.jsonl", plain, system)
    data_convert([source], tmp_path / "out.jsonl", "prompt_completion")
    row = {"prompt": "q", "completion": "a"}
    assert read(tmp_path / "out.jsonl") == [row, {"system": "s", **row}]
    source = write(tmp_path / "in2.jsonl", plain, {"instruction": "q", "output": "a", "history": [["h", "i"]]})
    data_convert([source], tmp_path / "out2.jsonl", "prompt_completion", allow_loss=True)
    assert all(isinstance(row["prompt"], list) for row in read(tmp_path / "out2.jsonl"))


def test_of_judged_answers_the_good_one_is_written(tmp_path):
    pairs = write(tmp_path / "pairs.jsonl", {"prompt": "q", "chosen": "good", "rejected": "bad", "id": 1})
    with pytest.raises(DataError, match="rejected answers: 1 rows"):
        data_convert([pairs], tmp_path / "out.jsonl", "alpaca")
    data_convert([pairs], tmp_path / "out.jsonl", "alpaca", allow_loss=True)
    assert read(tmp_path / "out.jsonl") == [{"instruction": "q", "input": "", "output": "good", "id": 1}]
    kto = write(
        tmp_path / "kto.jsonl",
        {"prompt": "q", "completion": "good", "label": True},
        {"prompt": "q", "completion": "bad", "label": False},
    )
    result = data_convert([kto], tmp_path / "kto_out.jsonl", "alpaca", allow_loss=True)
    assert [row["output"] for row in read(tmp_path / "kto_out.jsonl")] == ["good"]
    assert {loss.what for loss in result.losses} == {"labels", "rows with an answer that is labelled bad"}


def test_texts_cannot_become_conversations(tmp_path):
    source = write(tmp_path / "in.jsonl", {"text": "words"})
    with pytest.raises(DataError, match="None of the 1 rows"):
        data_convert([source], tmp_path / "out.jsonl", "messages", allow_loss=True)
    assert names(tmp_path) == ["in.jsonl"]


def run(verb: str, source: Path, folder: Path) -> None:
    if verb == "convert":
        data_convert([source], folder / "out.jsonl", "messages")
    elif verb == "split":
        data_split([source], folder / "out")
    else:
        data_dedup([source], folder / "out.jsonl", near=0.8)


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "gzip": ("in.jsonl.gz", gzip.compress(b'{"question": "q", "answer": "a"}\n' * 9)[:-9], r"in\.jsonl\.gz: damaged"),
    "utf-8": ("in.jsonl", b'{"question": "q", "answer": "a"}\n{"question": "\xff"}\n', r"in\.jsonl:2: not UTF-8"),
    "nul": ("in.jsonl", b'{"question": "q", "answer": "a"}\n\0\n', r"in\.jsonl:2: NUL"),
    "ragged": ("in.csv", b"question,answer\nq,a\nq\n", r"in\.csv:3: 1 cells"),
    "giant object": ("in.json", b'{"question": {"a": 1}, "answer": 2}', r"in\.json:1: one JSON object"),
    "unfit": ("in.jsonl", b'{"question": "q", "answer": "a"}\n{"question": "q", "answer": 3}\n', r"in\.jsonl:2: answer must"),
    "endless": (
        "in.jsonl",
        b'{"messages": [' + b'{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},' * 50_000
        + b'{"role": "user", "content": "q"}]}\n',
        r"in\.jsonl:1: 100,001 messages",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("verb", ["convert", "split", "dedup"])
def test_broken_files_leave_nothing_behind(tmp_path, verb, kind):
    name, content, reason = BROKEN[kind]
    source = tmp_path / name
    source.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        run(verb, source, tmp_path)
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("verb", ["convert", "split", "dedup"])
def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, verb):
    source = write_chat_rows(tmp_path / "in.jsonl")
    original = any_rows.read_rows

    def growing(path):
        yield from original(path)
        with open(source, "a") as file:
            file.write("\n")
        os.utime(source, ns=(1, 1))

    monkeypatch.setattr(any_rows, "read_rows", growing)
    with pytest.raises(DataError, match="changed while it was read"):
        run(verb, source, tmp_path)
    assert names(tmp_path) == ["in.jsonl"]


def test_the_split_is_the_one_of_training(tmp_path):
    source = write_chat_rows(tmp_path / "in.jsonl")
    result = data_split([source], tmp_path / "out", fraction=0.25, seed=3)
    rows = read(source)
    expected = split(read_files([source]).items, 0.25, 3)
    assert read(tmp_path / "out" / "train.jsonl") == [rows[i] for i in expected.train]
    assert read(tmp_path / "out" / "validation.jsonl") == [rows[i] for i in expected.validation]
    assert (result.num_train, result.num_validation) == (len(expected.train), len(expected.validation))
    with pytest.raises(InputError, match="exists"):
        data_split([source], tmp_path / "out", fraction=0.25, seed=3)


def test_pairs_with_one_prompt_stay_on_one_side(tmp_path):
    rows = [{"prompt": f"question {i // 2}", "chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(40)]
    data_split([write(tmp_path / "in.jsonl", *rows)], tmp_path / "out", fraction=0.3)
    sides = [{row["prompt"] for row in read(tmp_path / "out" / f"{side}.jsonl")} for side in ("train", "validation")]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 20


def test_rows_that_all_belong_together_cannot_be_split(tmp_path):
    source = write(tmp_path / "in.jsonl", *[{"prompt": "q", "completion": str(i)} for i in range(5)])
    with pytest.raises(DataError, match="belong together"):
        data_split([source], tmp_path / "out")
    assert names(tmp_path) == ["in.jsonl"]


LONG = "the quick brown fox jumps over the lazy dog and then runs far away into the deep dark wood at night"


def test_dedup_keeps_the_first_and_says_why(tmp_path):
    rows = [
        {"prompt": "a > 3?", "completion": "yes"},
        {"prompt": LONG, "completion": "one"},
        {"prompt": "a > 3? ", "completion": "yes\n", "id": 9},
        {"prompt": "a < 3?", "completion": "yes"},
        {"prompt": LONG.upper() + "!", "completion": "one"},
        {"prompt": LONG + " again", "completion": "one"},
    ]
    source = write(tmp_path / "in.jsonl", *rows)
    before = source.read_bytes()
    result = data_dedup([source], tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl") == [rows[i] for i in (0, 1, 3, 4, 5)]
    dropped = [{"source": f"{source}:3", "reason": f"equals {source}:1", "row": rows[2]}]
    assert read(tmp_path / "out.dropped.jsonl") == dropped
    assert (result.num_kept, result.num_equal, result.num_near) == (5, 1, 0)

    result = data_dedup([source], tmp_path / "near.jsonl", near=0.7)
    assert read(tmp_path / "near.jsonl") == [rows[i] for i in (0, 1)]
    reasons = {row["source"].rsplit(":")[-1]: row["reason"] for row in read(tmp_path / "near.dropped.jsonl")}
    assert reasons["4"] == f"has the same words as {source}:1"
    assert reasons["5"] == f"has the same words as {source}:2"
    assert reasons["6"].startswith(f"nearly equals {source}:2")
    assert (result.num_kept, result.num_equal, result.num_near) == (2, 1, 3)
    assert source.read_bytes() == before


def test_similarity_decides(tmp_path):
    # 20 words, 16 runs of five; one word more at the end gives 17, 16 of them shared: 16/17 = 0.94
    source = write(
        tmp_path / "in.jsonl", {"text": LONG}, {"text": LONG + " again"}, *[{"text": f"{i} x"} for i in range(9)]
    )
    assert data_dedup([source], tmp_path / "a.jsonl", near=0.94).num_near == 1
    assert data_dedup([source], tmp_path / "b.jsonl", near=0.95).num_near == 0


def test_labels_tell_rows_apart(tmp_path):
    rows = [{"prompt": "q", "completion": "a", "label": label} for label in (True, False, True)]
    result = data_dedup([write(tmp_path / "in.jsonl", *rows)], tmp_path / "out.jsonl", near=0.8)
    assert (result.num_kept, result.num_equal) == (2, 1)


@pytest.mark.parametrize("near", [0.5, 1.5])
def test_a_similarity_that_makes_no_sense(tmp_path, near):
    with pytest.raises(InputError, match=r"0\.7 to 1"):
        data_dedup([tmp_path / "in.jsonl"], tmp_path / "out.jsonl", near=near)


@pytest.mark.parametrize(("name", "dropped"), [("a.jsonl", "a.dropped.jsonl"), ("a.b.json.gz", "a.b.dropped.jsonl")])
def test_names_of_side_files(name, dropped):
    assert dropped_path(Path("x") / name) == Path("x") / dropped


def test_the_input_is_never_the_output(tmp_path):
    source = write_chat_rows(tmp_path / "in.jsonl")
    with pytest.raises(InputError, match="exists"):
        data_convert([source], source, "alpaca")
    with pytest.raises(InputError, match="exists"):
        data_dedup([source], source)


def test_an_unknown_layout_is_named(tmp_path):
    with pytest.raises(InputError, match="Known: messages, sharegpt, alpaca, prompt_completion"):
        data_convert([write_chat_rows(tmp_path / "in.jsonl")], tmp_path / "out.jsonl", "openai")
