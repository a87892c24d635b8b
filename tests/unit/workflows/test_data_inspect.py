"""inspect and show: against counts by hand and the tokens of training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.data.prepare import prepare
from luthier.data.template import ChatTemplate
from luthier.errors import DataError, InputError
from luthier.workflows import data_inspect as module
from luthier.workflows.data_inspect import data_inspect
from luthier.workflows.data_show import data_show
from tests.tiny import save_tiny_model, tiny_tokenizer, write_chat_rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    save_tiny_model(folder / "model")
    write_chat_rows(folder / "chats.jsonl")
    return folder


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_figures_equal_what_training_prepares(place):
    found = data_inspect([place / "chats.jsonl"], model=str(place / "model"))
    template = ChatTemplate.from_tokenizer(tiny_tokenizer())
    options = {"template": template, "seed": 0, "fraction": 0.0, "use_cache": False}
    prepared = prepare([place / "chats.jsonl"], model_max_length=512, **options)
    lengths = found.lengths
    assert lengths is not None
    assert (lengths.num_rows, lengths.num_measured) == (48, 48)
    assert lengths.num_tokens == prepared.report.train.num_tokens
    assert lengths.num_answer_tokens == prepared.report.train.num_supervised_tokens
    assert lengths.longest == prepared.report.train.longest_row_tokens
    assert found.model_max_length == 512
    assert found.turns == ((1, 48),)
    assert [file.format for file in found.files] == ["messages"]
    for cost in lengths.costs:
        if cost.num_rows < 48:
            for overlong in ("drop", "truncate"):
                limited = prepare(
                    [place / "chats.jsonl"],
                    model_max_length=512,
                    max_length=cost.max_length,
                    overlong=overlong,
                    **options,
                ).report.train
                lost = 1 - limited.num_supervised_tokens / lengths.num_answer_tokens
                share = cost.dropped_share if overlong == "drop" else cost.truncated_share
                assert lost == pytest.approx(share)
                if overlong == "drop":
                    assert len(limited.dropped) == cost.num_rows


def test_what_rows_hold(place, tmp_path):
    ask, say = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    source = write(
        tmp_path / "a.jsonl",
        {"messages": [{"role": "system", "content": "s"}, ask, say], "id": 1},
        {"messages": [{"role": "system", "content": "s"}, ask, say, ask, say]},
        {"messages": [{"role": "system", "content": "other"}, ask, call, {"role": "tool", "content": "1"}, say]},
        {"messages": [ask, {**say, "reasoning_content": "t"}]},
        {"messages": [ask]},
    )
    found = data_inspect([source], model=str(place / "model"))
    (file,) = found.files
    assert (file.num_rows, file.num_unfit, file.columns, file.unused) == (5, 1, ("messages", "id"), ("id",))
    assert str(file.unfit[0].source) == f"{source}:5"
    assert "no assistant turn" in file.unfit[0].reason
    assert found.turns == ((1, 3), (2, 1))
    assert (found.num_with_tools, found.num_with_thinking) == (1, 1)
    assert (found.system_prompts.num_rows, found.system_prompts.num_different) == (3, 2)
    assert found.system_prompts.most_frequent == (("s", 2), ("other", 1))
    json.dumps(found.to_json())


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"prompt": "q", "chosen": "good", "rejected": "bad"}, "preference"),
        ({"prompt": "q", "completion": "a", "label": False}, "kto"),
        ({"text": "t", "label": "c"}, "classification"),
        ({"instruction": "q", "context": "c", "response": "a"}, "dolly"),
    ],
)
def test_layouts_that_training_refuses_are_named(place, tmp_path, row, name):
    found = data_inspect([write(tmp_path / "a.jsonl", row)], model=str(place / "model"))
    assert found.files[0].format == name
    assert (found.lengths is None) == (name == "classification")


def test_a_pair_is_as_long_as_its_longer_answer(place, tmp_path):
    row = {"prompt": "q", "chosen": "good answer", "rejected": "b"}
    found = data_inspect([write(tmp_path / "a.jsonl", row)], model=str(place / "model"))
    alone = data_inspect(
        [write(tmp_path / "b.jsonl", {"prompt": "q", "completion": "good answer"})], model=str(place / "model")
    )
    assert found.lengths is not None
    assert alone.lengths is not None
    assert found.lengths.longest == alone.lengths.longest
    assert found.lengths.num_tokens > alone.lengths.num_tokens


def test_many_rows_are_sampled_and_the_error_is_said(place, monkeypatch):
    whole = data_inspect([place / "chats.jsonl"], model=str(place / "model")).lengths
    monkeypatch.setattr(module, "MOST_MEASURED", 20)
    part = data_inspect([place / "chats.jsonl"], model=str(place / "model")).lengths
    assert whole is not None
    assert part is not None
    assert (part.num_rows, part.num_measured) == (48, 20)
    assert abs(part.num_tokens - whole.num_tokens) <= part.num_tokens_error
    assert all(cost.row_share_error > 0.1 for cost in part.costs)


def test_shown_tokens_are_those_of_training(place):
    shown = data_show(place / "chats.jsonl", 2, model=str(place / "model"))
    (row,) = shown.examples
    text = json.loads((place / "chats.jsonl").read_text().splitlines()[1])["messages"]
    assert "".join(row.pieces) == (
        f"<|im_start|>user\n{text[0]['content']}<|im_end|>\n<|im_start|>assistant\n{text[1]['content']}<|im_end|>\n"
    )
    learnt = "".join(piece for piece, trained in zip(row.pieces, row.trained, strict=True) if trained)
    assert learnt == f"{text[1]['content']}<|im_end|>"
    assert row.source == f"{place / 'chats.jsonl'}:2"
    assert tiny_tokenizer().decode(list(row.ids)) == "".join(row.pieces)


def test_a_row_of_some_thousand_tokens_is_shown_whole(place, tmp_path):
    source = write(tmp_path / "a.jsonl", {"prompt": "q " * 300, "completion": "a"})
    (row,) = data_show(source, model=str(place / "model")).examples
    assert len(row.ids) == row.num_tokens > 600
    assert row.gap_before == 0


@pytest.mark.parametrize("number", [0, 49])
def test_rows_that_are_not_there(place, number):
    with pytest.raises(InputError, match=f"no row {number}"):
        data_show(place / "chats.jsonl", number, model=str(place / "model"))


def test_a_row_that_does_not_fit_is_named(place, tmp_path):
    source = write(tmp_path / "a.jsonl", {"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": 3})
    with pytest.raises(DataError, match=r"a\.jsonl:2: completion must be text"):
        data_show(source, 2, model=str(place / "model"))
