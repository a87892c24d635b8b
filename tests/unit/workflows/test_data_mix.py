"""Mixed files: which rows, from where, in which layout; what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.app import main
from luthier.data import any_rows
from luthier.data.mixing import MixSource
from luthier.errors import DataError, InputError
from luthier.workflows.data_mix import data_mix
from tests.tiny import save_tiny_model


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pairs(folder: Path, name: str, count: int) -> Path:
    return write(folder / f"{name}.jsonl", *({"question": f"{name}{i}", "answer": "yes"} for i in range(count)))


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    return [str(pairs(tmp_path, "a", 100)), str(pairs(tmp_path, "b", 20))]


def test_every_row_of_the_mix_is_a_row_of_its_source(tmp_path, sources):
    given = [MixSource(sources[0], weight=0.7), MixSource(sources[1], weight=0.3)]
    result = data_mix(given, tmp_path / "out.jsonl", seed=3)
    rows, notes = read(tmp_path / "out.jsonl"), read(tmp_path / "out.sources.jsonl")
    assert [note["row"] for note in notes] == list(range(1, 67))
    where = {f"{name}:{i + 1}": row for name in sources for i, row in enumerate(read(Path(name)))}
    assert [where[note["source"]] for note in notes] == rows
    assert len({note["source"] for note in notes}) == 66  # nothing twice
    for letter in "ab":  # in the order of the source
        taken = [int(row["question"][1:]) for row in rows if row["question"][0] == letter]
        assert taken == sorted(taken)
    first, second = result.sources
    assert (first.num_rows, first.num_available, first.is_exhausted) == (46, 100, False)
    assert (second.num_rows, second.num_available, second.is_exhausted) == (20, 20, True)
    assert second.num_characters == sum(len(f"b{i}yes") for i in range(20))
    data_mix(given, tmp_path / "same.jsonl", seed=3)
    data_mix(given, tmp_path / "other.jsonl", seed=4)
    assert (tmp_path / "same.jsonl").read_text() == (tmp_path / "out.jsonl").read_text()
    assert (tmp_path / "other.jsonl").read_text() != (tmp_path / "out.jsonl").read_text()


def test_repeated_rows_come_equally_often(tmp_path, sources):
    given = [MixSource(sources[0], num_rows=10), MixSource(sources[1], num_rows=50)]
    result = data_mix(given, tmp_path / "out.jsonl", when_exhausted="repeat")
    times = Counter(row["question"] for row in read(tmp_path / "out.jsonl"))
    assert Counter(count for question, count in times.items() if question[0] == "b") == {2: 10, 3: 10}
    assert (result.num_rows, result.sources[1].is_exhausted) == (60, True)
    result = data_mix(given, tmp_path / "stop.jsonl")
    assert [source.num_rows for source in result.sources] == [10, 20]


def test_different_layouts_are_refused_or_written_as_one(tmp_path, sources):
    chat = [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]
    chats = str(write(tmp_path / "c.jsonl", *({"messages": chat, "id": i} for i in range(5))))
    other_names = str(write(tmp_path / "d.jsonl", {"query": "q", "response": "r"}))
    for second, found in ((chats, "messages"), (other_names, "query, response")):
        with pytest.raises(InputError, match=f"(?s)different layouts; --to messages.*{found}"):
            data_mix([MixSource(sources[0]), MixSource(second)], tmp_path / "out.jsonl")
    result = data_mix(
        [MixSource(sources[1]), MixSource(chats), MixSource(other_names)], tmp_path / "out.jsonl", to="messages"
    )
    assert [source.format for source in result.sources] == ["question_answer", "messages", "question_answer"]
    rows = read(tmp_path / "out.jsonl")
    assert sorted(row["messages"][0]["content"] for row in rows) == sorted(
        [*(f"b{i}" for i in range(20)), *"ccccc", "q"]
    )
    assert sorted(row["id"] for row in rows if "id" in row) == [0, 1, 2, 3, 4]


def test_what_a_layout_cannot_say_stops_the_mix(tmp_path, sources):
    named = [{"role": "user", "content": "c", "name": "Ann"}, {"role": "assistant", "content": "d"}]
    chats = str(write(tmp_path / "c.jsonl", {"messages": named}))
    with pytest.raises(DataError, match=r"c\.jsonl:1: sharegpt cannot say names of speakers.*--allow-loss"):
        data_mix([MixSource(sources[0]), MixSource(chats)], tmp_path / "out.jsonl", to="sharegpt")
    assert not list(tmp_path.glob("out*"))


def test_a_row_that_does_not_fit_or_a_changed_file_leaves_nothing(tmp_path, sources, monkeypatch):
    unfit = str(write(tmp_path / "u.jsonl", {"question": "q", "answer": "a"}, {"question": "q", "answer": 1}))
    with pytest.raises(DataError, match=r"u\.jsonl:2 does not fit its layout: answer must be text"):
        data_mix([MixSource(sources[0]), MixSource(unfit)], tmp_path / "out.jsonl")
    states = iter(range(1000))
    monkeypatch.setattr(any_rows, "_state", lambda _: (next(states), 0))
    with pytest.raises(DataError, match="changed while it was read"):
        data_mix([MixSource(sources[0]), MixSource(sources[1])], tmp_path / "out.jsonl")
    assert not list(tmp_path.glob("*out*"))


def test_refusals(tmp_path, sources):
    one, two = MixSource(sources[0]), MixSource(sources[1])
    for given, options, expected in (
        ([one], {}, "at least two sources"),
        ([one, two], {"when_exhausted": "cycle"}, "stop or repeat"),
        ([one, two], {"to": "xml"}, "Known: messages"),
        ([one._replace(weight=1.0), two._replace(weight=1e-6)], {"num_rows": 0}, "at least one row"),
        ([one._replace(weight=1.0), two._replace(weight=99999.0)], {}, None),
    ):
        if expected:
            with pytest.raises(InputError, match=expected):
                data_mix(given, tmp_path / "out.jsonl", **options)
        else:
            assert data_mix(given, tmp_path / "out.jsonl", **options).num_rows == 20
    with pytest.raises(InputError, match="exists already"):
        data_mix([one, two], tmp_path / "out.jsonl")


def test_the_command_counts_tokens(tmp_path, sources, capsys):
    save_tiny_model(tmp_path / "model")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    out = tmp_path / "out.jsonl"
    arguments = ["data", "mix", str(out), f"{sources[0]}:0.5", f"{sources[1]}:0.5", "--rows", "10"]
    assert main([*arguments, "--tokenizer", str(tmp_path / "model"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    texts = [row[key] for row in read(out) if row["question"][0] == "b" for key in ("question", "answer")]
    assert content["sources"][1]["num_tokens"] == sum(
        len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts
    )
    assert content["num_rows"] == 10
    more = ["data", "mix", str(tmp_path / "more.jsonl"), f"{sources[0]}:0.5", f"{sources[1]}:0.5"]
    assert main(more) == 0
    shown = capsys.readouterr().out
    assert "40 rows" in shown
    assert f"{sources[1]} is used up: no more rows without repeating it (--when-exhausted repeat)" in shown
    assert shown.splitlines()[-1] == f"Next: luthier data check {tmp_path / 'more.jsonl'}"
