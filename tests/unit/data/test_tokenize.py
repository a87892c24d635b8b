"""Token sets: examples come back as they went in, and what is cut or dropped is counted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.example import Example, Segment
from luthier.data.tokenize import TokenizedSet, tokenize
from luthier.errors import DataError
from luthier.reporter import Silent
from luthier.types import Conversation, Document, Message, Source
from tests.unit.data.fake_template import BOS, END, ROLES, FakeTemplate


def chat(question: str, answer: str, line: int = 1) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), source=Source("f.jsonl", line))


def run(*items, max_length=100, overlong="drop"):
    return tokenize(list(enumerate(items)), FakeTemplate(), max_length=max_length, overlong=overlong, reporter=Silent())


def same(a: Example, b: Example) -> bool:
    return a.row == b.row and all(
        np.array_equal(x.ids, y.ids) and np.array_equal(x.weights, y.weights) and x.parent == y.parent
        for x, y in zip(a.segments, b.segments, strict=True)
    )


def test_conversation_by_hand():
    tokens = run(chat("q", "ab")).tokens
    (example,) = tokens
    (segment,) = example.segments
    assert segment.ids.tolist() == [ROLES["user"], ord("q"), END, ROLES["assistant"], ord("a"), ord("b"), END]
    assert segment.weights.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert segment.parent == -1
    assert (len(tokens), tokens.num_tokens, tokens.num_targets, tokens.lengths.tolist()) == (1, 7, 3, [7])


def test_first_token_is_never_a_target():
    (example,) = run(Document("ab")).tokens
    assert example.segments[0].ids.tolist() == [BOS, ord("a"), ord("b"), END]
    assert example.segments[0].weights.tolist() == [0, 1, 1, 1]


def test_document_is_cut_without_loss():
    result = run(Document("abcdefgh"), chat("q", "a"), max_length=6)
    whole = [BOS, *b"abcdefgh", END]
    first, second, last = result.tokens
    assert first.segments[0].ids.tolist() == whole[:6]
    assert second.segments[0].ids.tolist() == whole[5:]  # begins with the token before, as context
    assert second.segments[0].weights.tolist() == [0, 1, 1, 1, 1]
    assert [e.row for e in (first, second, last)] == [0, 0, 1]
    assert result.num_cut_documents == 1
    assert not result.dropped


@given(st.text("abc", min_size=1, max_size=60), st.integers(2, 20))
@settings(max_examples=60, deadline=None)
def test_every_token_of_a_document_is_learnt_once(text, max_length):
    tokens = run(Document(text), max_length=max_length).tokens
    assert tokens.lengths.max() <= max_length
    targets = [int(i) for e in tokens for i, w in zip(e.segments[0].ids, e.segments[0].weights, strict=True) if w]
    assert targets == [*text.encode(), END]


def test_overlong_drop_names_the_row():
    result = run(chat("q", "a", 1), chat("q", "a" * 50, 7), max_length=20)
    assert [e.row for e in result.tokens] == [0]
    assert [(str(d.source), d.reason) for d in result.dropped] == [("f.jsonl:7", "55 tokens, the limit is 20")]
    assert result.longest_row_tokens == 55
    assert result.num_lost_answer_tokens == 50 + 1, "its letters and its end of turn"


def test_overlong_error_lists_ten():
    with pytest.raises(DataError) as caught:
        run(*[chat("q", "a" * 50, line) for line in range(1, 13)], max_length=20, overlong="error")
    message = str(caught.value)
    assert "12 of 12 rows are longer than 20 tokens (longest: 55)" in message
    assert "f.jsonl:10: 55 tokens" in message
    assert "f.jsonl:11" not in message
    assert "and 2 more" in message


def test_truncate_counts_lost_answer_tokens_and_drops_rows_without_answer():
    # "q" turn: 3 tokens, assistant mark: 1; a limit of 6 keeps 2 answer tokens of 11
    result = run(chat("q", "a" * 10, 1), chat("q" * 10, "a", 2), max_length=6, overlong="truncate")
    (kept,) = result.tokens
    assert kept.segments[0].weights.tolist() == [0, 0, 0, 0, 1, 1]
    assert result.num_truncated_rows == 1
    assert result.num_lost_answer_tokens == 9 + 2
    assert [d.source.line for d in result.dropped] == [2]


@given(
    st.lists(st.tuples(st.text("ab", max_size=30), st.text("ab", max_size=30)), min_size=1, max_size=8),
    st.integers(2, 40),
)
@settings(max_examples=60, deadline=None)
def test_lost_tokens_reported_are_tokens_lost(turns, max_length):
    items = [chat(question, answer) for question, answer in turns]
    whole = run(*items, max_length=10_000).tokens.num_targets
    result = run(*items, max_length=max_length, overlong="truncate")
    assert whole - result.tokens.num_targets == result.num_lost_answer_tokens
    assert len(result.tokens) + len(result.dropped) == len(items)


def test_rows_without_a_learnt_token_are_listed():
    masked = Conversation((Message("user", "q"), Message("assistant", "a", train=False)), source=Source("f.jsonl", 4))
    with pytest.raises(DataError) as caught:
        run(chat("q", "a"), masked)
    assert "1 of 2 rows" in str(caught.value)
    assert "f.jsonl:4: none of its 6 tokens is learnt" in str(caught.value)


class Forgetful(FakeTemplate):
    """Shows each answer in an example of its own, as Qwen 3 does for turns with thinking."""

    def encode_turns(self, conversation):
        answers = [i for i, m in enumerate(conversation.messages) if m.role == "assistant"]
        views = []
        for last in answers:
            view = self.encode(Conversation(conversation.messages[: last + 1]))
            start = len(self.encode(Conversation(conversation.messages[:last])).ids) + 1
            views.append(view._replace(trained=np.arange(len(view.ids)) >= start))
        return tuple(views)


def two_answers(first: str, second: str) -> Conversation:
    turns = (Message("user", "q"), Message("assistant", first), Message("user", "r"), Message("assistant", second))
    return Conversation(turns, source=Source("f.jsonl", 3))


def run_forgetful(*items, max_length, overlong="drop"):
    return tokenize(list(enumerate(items)), Forgetful(), max_length=max_length, overlong=overlong, reporter=Silent())


def test_a_row_becomes_several_examples_where_the_template_rewrites_the_past():
    result = run_forgetful(two_answers("a", "bc"), chat("q", "a"), max_length=100)
    first, second, other = result.tokens
    assert [e.row for e in result.tokens] == [0, 0, 1]
    assert first.segments[0].weights.tolist() == [0, 0, 0, 0, 1, 1]
    assert second.segments[0].weights.tolist() == [0] * 10 + [1, 1, 1]
    assert second.segments[0].ids.tolist()[:6] == first.segments[0].ids.tolist()
    assert other.num_targets == 2
    assert result.num_rewritten_rows == 1
    assert result.tokens.num_targets == 2 + 3 + 2


def test_views_that_are_too_long_drop_the_whole_row_or_are_cut_and_counted():
    row = two_answers("a", "bcdef")  # 6 tokens, and 10 + 6 tokens
    dropped = run_forgetful(row, max_length=12)
    assert len(dropped.tokens) == 0
    assert [d.reason for d in dropped.dropped] == ["16 tokens, the limit is 12"]
    cut = run_forgetful(row, max_length=12, overlong="truncate")
    assert cut.tokens.lengths.tolist() == [6, 12]
    assert (cut.num_truncated_rows, cut.num_lost_answer_tokens, cut.tokens.num_targets) == (1, 4, 2 + 2)
    nothing_left_of_the_second = run_forgetful(row, max_length=9, overlong="truncate")
    assert nothing_left_of_the_second.tokens.lengths.tolist() == [6]
    assert nothing_left_of_the_second.num_lost_answer_tokens == 6


def test_template_errors_name_their_rows():
    class Refusing(FakeTemplate):
        def encode(self, conversation):
            raise DataError(f"{conversation.source}: roles must alternate")

    with pytest.raises(DataError) as caught:
        tokenize([(0, chat("q", "a"))], Refusing(), max_length=9, overlong="drop", reporter=Silent())
    assert str(caught.value) == "1 of 1 rows cannot be learnt from:\n  f.jsonl:1: roles must alternate"


def test_progress_ends_complete():
    seen = []

    class Listening(Silent):
        def progress(self, name, done, total, detail=None):
            seen.append((name, done, total))

    rows = [(i, chat("q", "a")) for i in range(450)]
    tokenize(rows, FakeTemplate(), max_length=9, overlong="drop", reporter=Listening(), what="training rows")
    assert seen == [("tokenize training rows", done, 450) for done in (0, 200, 400, 450)]


def segments(draw_ids):
    return [Segment(np.array(i, np.int32), np.array(w, np.float32), p) for i, w, p in draw_ids]


@st.composite
def examples(draw):
    segs = []
    for index in range(draw(st.integers(1, 3))):
        ids = draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5))
        weights = draw(st.lists(st.floats(0, 2, width=32), min_size=len(ids), max_size=len(ids)))
        parent = -1 if index == 0 else draw(st.integers(-1, index - 1))
        segs.append(Segment(np.array(ids, np.int32), np.array(weights, np.float32), parent))
    return Example(draw(st.integers(0, 2**40)), tuple(segs))


@given(st.lists(examples(), max_size=6))
@settings(max_examples=40, deadline=None)
def test_round_trip_through_arrays_and_disk(tmp_path_factory, written):
    tokens = TokenizedSet.from_examples(written)
    folder = tmp_path_factory.mktemp("set") / "tokens"
    tokens.save(folder)
    loaded = TokenizedSet.load(folder)
    for some in (tokens, loaded):
        assert len(some) == len(written)
        assert all(same(a, b) for a, b in zip(some, written, strict=True))
        assert some.lengths.tolist() == [e.num_tokens for e in written]
        assert some.num_targets == sum(e.num_targets for e in written)
    assert loaded.fingerprint == tokens.fingerprint
    assert [p.name for p in folder.parent.iterdir()] == ["tokens"]


def test_loaded_set_is_mapped_and_negative_index_works(tmp_path):
    run(chat("q", "a"), chat("r", "b")).tokens.save(tmp_path / "t")
    loaded = TokenizedSet.load(tmp_path / "t")
    assert isinstance(loaded.ids, np.memmap)
    assert loaded[-1].row == 1
    with pytest.raises(IndexError):
        loaded[2]


@pytest.mark.parametrize("field", ["ids", "weights", "segment_offsets", "parents", "example_offsets", "rows"])
def test_fingerprint_sees_every_array(field):
    tokens = run(chat("q", "a"), chat("r", "b")).tokens
    changed = getattr(tokens, field).copy()
    changed[-1] += 1
    assert dataclasses.replace(tokens, **{field: changed}).fingerprint != tokens.fingerprint


def test_damaged_and_missing_sets_are_refused(tmp_path):
    tokens = run(chat("q", "a")).tokens
    tokens.save(tmp_path / "t")
    path = tmp_path / "t" / "ids.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        TokenizedSet.load(tmp_path / "t")
    path.write_bytes(content[:50])
    with pytest.raises(DataError, match="not a saved token set"):
        TokenizedSet.load(tmp_path / "t")
    with pytest.raises(DataError, match="not a saved token set"):
        TokenizedSet.load(tmp_path / "nothing")
    tokens.save(tmp_path / "t")  # replaces what is there
    assert TokenizedSet.load(tmp_path / "t").fingerprint == tokens.fingerprint
