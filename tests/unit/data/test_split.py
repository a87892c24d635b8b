"""Splits: nothing that belongs together is separated, and sides do not depend on the order of rows."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.content import content_key, prompt_key
from luthier.data.split import group_rows, split
from luthier.types import Conversation, Document, Message

WORDS = [
    "river",
    "stone",
    "lamp",
    "garden",
    "winter",
    "copper",
    "violin",
    "orange",
    "ladder",
    "harbour",
    "window",
    "cedar",
    "marble",
    "thunder",
    "basket",
    "meadow",
    "engine",
    "candle",
    "pepper",
    "island",
    "button",
    "forest",
    "silver",
    "carpet",
    "bridge",
    "pencil",
    "rocket",
    "velvet",
    "tunnel",
    "anchor",
]


def chat(*turns: str, system: str | None = None) -> Conversation:
    roles = ("user", "assistant")
    messages = [Message("system", system)] if system else []
    return Conversation((*messages, *[Message(roles[i % 2], turn) for i, turn in enumerate(turns)]))  # type: ignore[arg-type]


def sentence(seed: object, length: int = 30) -> str:
    rng = random.Random(str(seed))
    return " ".join(rng.choice(WORDS) for _ in range(length))


def together(items, a: int, b: int) -> bool:
    groups = group_rows(items)
    return groups[a] == groups[b]


def test_equal_prompts_stay_together():
    items = [chat("What is  it?", "This."), chat("what is it", "That."), chat("Who is it?", "Me.")]
    assert together(items, 0, 1)
    assert not together(items, 0, 2)


def test_last_answer_alone_is_no_part_of_the_prompt():
    items = [chat("a", "b", "c", "d"), chat("a", "b", "c", "e"), chat("a", "x", "c", "d")]
    assert together(items, 0, 1)
    assert not together(items, 0, 2)


def test_equal_system_prompts_do_not_connect():
    system = sentence("system", 200)
    items = [chat(sentence(i), sentence(("a", i)), system=system) for i in range(10)]
    assert len(set(group_rows(items))) == 10


def test_near_duplicates_stay_together():
    words = sentence(1, 60).split()
    changed = " ".join([*words[:-1], "different"])
    far = " ".join(words[:30] + sentence(2, 30).split())
    items = [Document(" ".join(words)), Document(changed), Document(far), Document(sentence(3, 60))]
    # 56 shingles each; one word changed at the end: 55 shared, Jaccard 55/57; half replaced: below 0.5
    assert together(items, 0, 1)
    assert not together(items, 0, 2)
    assert not together(items, 0, 3)


def test_planted_near_duplicates_are_found():
    items = [Document(sentence(i, 60)) for i in range(300)]
    for i in range(300):
        words = items[i].text.split()
        words[5 + i % 50] = "changed"  # at most 5 of 56 shingles differ: Jaccard ≥ 51/61 = 0.836
        items.append(Document(" ".join(words)))
    groups = group_rows(items)
    assert sum(groups[i] == groups[300 + i] for i in range(300)) >= 298
    assert max(Counter(groups.tolist()).values()) == 2


def test_a_shared_schema_does_not_connect():
    schema = sentence("schema", 300)
    items = [chat(f"{schema}\n{sentence(i, 12)}", f"SELECT {sentence(('sql', i), 6)}") for i in range(100)]
    assert len(set(group_rows(items))) == 100


def test_chinese_near_duplicates():
    text = "".join(chr(0x4E00 + 7 * i) for i in range(60))
    items = [Document(text), Document(text[:-1] + "中"), Document(text[::-1])]
    assert together(items, 0, 1)
    assert not together(items, 0, 2)


def test_signs_alone_stay_distinct():
    assert content_key(Document("<=")) != content_key(Document(">="))


@pytest.mark.parametrize(
    ("num_rows", "fraction"), [(1000, 0.1), (20, 0.1), (10, 0.5), (5, 0.01), (2, 0.99), (40, 0.25)]
)
@pytest.mark.parametrize("seed", range(5))
def test_share_is_near_the_fraction(num_rows, fraction, seed):
    sides = split([chat(sentence((i, "q")), sentence((i, "a"))) for i in range(num_rows)], fraction, seed)
    assert sides.num_groups == num_rows
    assert sides.largest_group == 1
    assert 0.5 * fraction * num_rows <= len(sides.validation) <= max(1, 1.5 * fraction * num_rows)
    assert sides.train


def test_no_fraction_and_one_group_hold_nothing_out():
    items = [chat("q", "a"), chat("q", "b")]
    assert split(items, 0.5, 0) == ([0, 1], [], 1, 2)
    assert split([chat("q", "a"), chat("r", "b")], 0.0, 0).validation == []
    assert split([], 0.1, 0) == ([], [], 0, 0)


def test_two_groups_larger_than_the_fraction():
    items = [chat("q", str(i)) for i in range(6)] + [chat("r", str(i)) for i in range(4)]
    sides = split(items, 0.1, 0)
    assert sides.validation == [6, 7, 8, 9]
    assert sides.largest_group == 6


def test_seed_changes_the_split():
    items = [chat(sentence(i), "a") for i in range(200)]
    assert split(items, 0.2, 1).validation == split(items, 0.2, 1).validation
    assert split(items, 0.2, 1).validation != split(items, 0.2, 2).validation


def test_new_rows_leave_old_rows_where_they_are():
    items = [chat(sentence(i), "a") for i in range(2000)]
    before, after = split(items[:1000], 0.2, 0), split(items, 0.2, 0)
    assert set(before.validation) == {row for row in after.validation if row < 1000}


prompts = st.sampled_from(["one", "two", "Three four", "three  FOUR!", "five six seven eight nine ten", "x"])
answers = st.sampled_from(["a", "b", "a long answer with more than five words in it"])
conversations = st.builds(chat, prompts, answers) | st.builds(chat, prompts, answers, prompts, answers)
documents = st.builds(Document, st.sampled_from(["text", "Text.", sentence(1), sentence(1) + " end"]))


@given(st.lists(conversations | documents, min_size=1, max_size=40), st.floats(0, 0.9), st.integers(0, 3), st.randoms())
@settings(max_examples=60, deadline=None)
def test_properties(items, fraction, seed, rng):
    sides = split(items, fraction, seed)
    assert sorted(sides.train + sides.validation) == list(range(len(items)))
    assert sides.train
    held_out, learnt = [items[i] for i in sides.validation], [items[i] for i in sides.train]
    assert not {prompt_key(i) for i in held_out} & {prompt_key(i) for i in learnt}
    assert not {content_key(i) for i in held_out} & {content_key(i) for i in learnt}
    if fraction > 0 and sides.num_groups > 1:
        assert sides.validation

    order = list(range(len(items)))
    rng.shuffle(order)
    again = split([items[i] for i in order], fraction, seed)
    assert sorted(order[i] for i in again.validation) == sides.validation
    assert (again.num_groups, again.largest_group) == (sides.num_groups, sides.largest_group)


@pytest.mark.slow
def test_ten_thousand_short_rows_in_two_seconds():
    items = [chat(sentence((i, "q"), 15), sentence((i, "a"), 15)) for i in range(10_000)]
    start = time.process_time()
    assert split(items, 0.1, 0).num_groups == 10_000
    assert time.process_time() - start < 2


def test_real_rows_do_not_chain_into_one_group(shared_data):
    import json

    lines = (shared_data / "tasks/text2sql_mlx_wikisql/train.jsonl").read_text().splitlines()
    sides = split([Document(json.loads(line)["text"]) for line in lines], 0.1, 0)
    # Questions about one table quote the same columns; they are still different questions.
    assert sides.num_groups > 950
    assert sides.largest_group < 10
