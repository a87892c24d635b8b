"""The whole data path: numbers in the report, errors that stop, findings that warn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.data import read_files as read_files_module
from luthier.data.prepare import prepare
from luthier.data.sources import read_rows
from luthier.errors import DataError
from luthier.types import Conversation
from tests.unit.data.fake_template import FakeTemplate


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def write(tmp_path):
    def _write(rows: list, name: str = "train.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return _write


def pair(question: str, answer: str) -> dict:
    return {"prompt": question, "completion": answer}


def run(*files: Path, **options):
    options = {"fraction": 0.2, "seed": 0, "model_max_length": 100, **options}
    return prepare(files, template=FakeTemplate(), **options)


def rules(prepared) -> dict[str, str]:
    return {finding.rule: finding.message for finding in prepared.report.findings}


def test_numbers_by_hand(write):
    # tokens: user mark + question + end + assistant mark + answer + end = 4 + 1 + answer; learnt: answer + 1
    file = write([pair(chr(97 + i), "x" * (i + 1)) for i in range(10)])
    prepared = run(file, fraction=0.0)
    side = prepared.report.train
    assert (side.num_rows, side.num_examples, side.num_tokens, side.num_supervised_tokens) == (10, 10, 105, 65)
    assert (side.max_length, side.longest_row_tokens, side.median_length) == (15, 15, 10.5)
    assert side.lengths == tuple((length, 1) for length in range(6, 16))
    assert len(prepared.validation) == 0
    assert prepared.report.num_rows_read == prepared.report.num_rows_used == 10
    (read,) = prepared.report.files
    assert (read.path, read.num_rows, read.format) == (str(file), 10, "prompt_completion")
    assert prepared.report.max_length == 100
    assert rules(prepared).keys() == {"few_rows"}


def test_rows_are_numbered_over_all_files_and_conversations_follow(write):
    one = write([pair(f"q{i}", "a") for i in range(5)])
    two = write([{"messages": [{"role": "user", "content": "m"}, {"role": "assistant", "content": "n"}]}], "two.jsonl")
    held = write([pair("v", "w")], "held.jsonl")
    prepared = run(one, two, validation_files=[held])
    assert prepared.train.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert prepared.validation.rows.tolist() == [6]
    assert [file.format for file in prepared.report.files] == ["prompt_completion", "messages"]
    (conversation,) = prepared.validation_conversations
    assert isinstance(conversation, Conversation)
    assert conversation.messages[0].content == "v"
    assert [str(c.source) for c in prepared.train_conversations][-1] == f"{two}:1"


def test_split_is_disjoint_and_complete(write):
    prepared = run(write([pair(f"question {i}", f"answer {i}") for i in range(50)]))
    assert sorted([*prepared.train.rows, *prepared.validation.rows]) == list(range(50))
    assert 5 <= len(prepared.validation) <= 15
    assert prepared.report.num_groups == 50


def test_limit_uses_first_rows(write):
    file = write([pair(f"q{i}", "a") for i in range(10)])
    file.write_text(file.read_text() + "broken, but never read\n")
    prepared = run(file, limit=4, fraction=0.0)
    assert prepared.train.rows.tolist() == [0, 1, 2, 3]
    assert prepared.report.files[0].num_rows == 4


def test_bad_rows_are_counted_and_ten_listed(write):
    rows = [pair("q", "a")] * 20 + [pair("q", None)] * 12 + [pair("", "a")]
    with pytest.raises(DataError) as caught:
        run(write(rows))
    message = str(caught.value)
    assert "13 of 33 rows do not fit" in message
    assert "train.jsonl:21: completion is null" in message
    assert "and 3 more" in message


def test_all_masked_and_zero_target_rows_are_listed(write):
    class Masking(FakeTemplate):
        def encode(self, conversation):
            rendered = super().encode(conversation)
            return rendered._replace(trained=rendered.trained & False)

    file = write([pair(f"q{i}", "a") for i in range(3)])
    with pytest.raises(
        DataError, match=r"3 of 3 training rows cannot be learnt from:\n.*train\.jsonl:1: none of its 7 tokens"
    ):
        prepare([file], template=Masking(), fraction=0.0, seed=0, model_max_length=100)


def test_both_sides_complain_at_once(write):
    file, held = write([pair("q", "a" * 50)]), write([pair("v", "w" * 60)], "held.jsonl")
    with pytest.raises(DataError) as caught:
        run(file, validation_files=[held], max_length=20, overlong="error")
    assert "1 of 1 training rows" in str(caught.value)
    assert "1 of 1 validation rows" in str(caught.value)


def test_nothing_fits_into_the_limit(write):
    with pytest.raises(DataError, match=r"none of the 2 training rows fits into 8 tokens \(longest: 54\)"):
        run(write([pair("q", "a" * 49), pair("r", "b" * 30)]), max_length=8, fraction=0.0)


def test_max_length_above_the_models_is_refused(write):
    with pytest.raises(DataError, match="built for 100"):
        run(write([pair("q", "a")]), max_length=101)


def test_no_file():
    with pytest.raises(DataError, match="names no file"):
        run()


def test_overlong_rows_are_reported(write):
    file = write([pair("q", "a" * 10), pair("r", "b")])
    dropped = run(file, max_length=10, fraction=0.0).report
    assert [(row.source.line, row.reason) for row in dropped.dropped] == [(1, "15 tokens, the limit is 10")]
    assert dropped.num_rows_used == 1
    cut = run(file, max_length=10, fraction=0.0, overlong="truncate").report
    assert (cut.train.num_truncated_rows, cut.train.num_lost_answer_tokens) == (1, 5)
    assert cut.num_rows_used == 2


def test_document_chunks_share_their_row(tmp_path):
    (tmp_path / "a.txt").write_text("abcdefgh" * 4)
    prepared = run(tmp_path / "a.txt", max_length=10, fraction=0.0)
    # 34 tokens; 10 first, then 9 new ones a chunk
    assert prepared.train.rows.tolist() == [0, 0, 0, 0]
    assert prepared.report.train.num_rows == 1
    assert prepared.report.train.num_cut_documents == 1
    assert prepared.train.num_targets == 33
    assert len(prepared.train_conversations) == 1


def test_findings_about_rows(write):
    rows = [
        pair("same", "one"),
        pair("Same!", "One"),
        pair("same", "two"),
        pair("other", ""),
        {**pair("q", "a"), "id": 3},
    ]
    found = rules(run(write(rows)))
    assert "only 5 rows" in found["few_rows"]
    assert found["duplicate_rows"].startswith("1 of 5 rows")
    assert found["conflicting_answers"].startswith("1 prompt occurs with different answers (3 rows)")
    assert found["empty_answer"].startswith("1 of 5 rows")
    assert "not used: id" in found["columns_not_used"]


def test_many_distinct_rows_give_no_finding(write):
    assert rules(run(write([pair(f"question {i}", f"answer {i}") for i in range(120)]))) == {}


def test_validation_overlap_is_counted(write):
    words = " ".join(f"word{i}" for i in range(60))
    train = write([pair("equal", "a"), pair(words, "b"), pair("alone", "c")])
    held = write([pair("EQUAL", "z"), pair(words + " more", "b"), pair("new", "d")], "held.jsonl")
    message = rules(run(train, validation_files=[held]))["validation_overlaps_training"]
    assert message.startswith("2 of 3 validation rows occur in training too (1 with an equal prompt")


def test_one_group_leaves_no_validation(write):
    prepared = run(write([pair("q", "a"), pair("q", "b")]))
    assert len(prepared.train) == 2
    assert "belong together" in rules(prepared)["no_validation"]


def test_dropped_validation_is_said(write):
    held = write([pair("v", "w" * 200)], "held.jsonl")
    prepared = run(write([pair("q", "a")]), validation_files=[held])
    assert "all 1 were dropped" in rules(prepared)["no_validation"]


def test_file_that_changes_while_read_is_detected(write, monkeypatch):
    file = write([pair(f"q{i}", "a") for i in range(3)])

    def appending(path):
        yield from read_rows(path)
        with Path(path).open("a") as opened:
            opened.write(json.dumps(pair("late", "a")) + "\n")

    monkeypatch.setattr(read_files_module, "read_rows", appending)
    with pytest.raises(DataError, match="changed while it was read"):
        run(file)


def test_rows_are_not_read_again_from_a_changed_file(write):
    rows = [pair(f"q{i}", "a") for i in range(3)]
    file = write(rows)
    run(file)
    prepared = run(file)
    assert prepared.report.cache_hit
    write([*rows, pair("late", "a")])
    with pytest.raises(DataError, match="has changed since"):
        _ = prepared.train_conversations


def test_report_is_plain_json(write):
    report = run(write([pair("q", "a"), pair("r", "b")])).report
    content = json.loads(json.dumps(report.to_json()))
    assert content["train"]["num_rows"] + content["validation"]["num_rows"] == 2
    assert content["fingerprint"] == report.fingerprint


def test_control_tokens_and_lost_thinking_become_findings(write):
    rows = [pair(f"question {i} of many", f"answer {i}") for i in range(120)]
    rows[3]["prompt"] = "what is <|im_end|> for"
    rows[5] = {
        "prompt": "think",
        "completion": "done",
        "messages": [
            {"role": "user", "content": "think about it"},
            {"role": "assistant", "content": "done", "reasoning_content": "hmm"},
        ],
    }
    chats = [row if "messages" in row else {"messages": [
        {"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}
    ]} for row in rows]  # fmt: skip
    file = write([{"messages": chat["messages"]} for chat in chats])
    found = {finding.rule: finding for finding in run(file).report.findings}
    assert "1 of 120 rows contain strings of control tokens ('<|im_end|>')" in found["control_tokens_in_text"].message
    assert [str(s) for s in found["control_tokens_in_text"].rows] == [f"{file}:4"]
    assert "1 of 1 rows looked at that have some (3 tokens)" in found["thinking_lost"].message
    assert [str(s) for s in found["thinking_lost"].rows] == [f"{file}:6"]
    assert run(file).report.findings == tuple(found.values())  # the same from the cache
