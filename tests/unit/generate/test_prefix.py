from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from transformers.cache_utils import Cache

from luthier.generate.prefix import MIN_SHARED_TOKENS, PrefixMemory, common_prefix_length, shared_tokens

PROMPT = st.lists(st.integers(0, 2), min_size=1, max_size=8).map(tuple)


@given(st.lists(PROMPT, min_size=1, max_size=6))
def test_common_prefix_is_the_longest(prompts: list[tuple[int, ...]]) -> None:
    length = common_prefix_length(prompts)
    assert len({prompt[:length] for prompt in prompts}) == 1
    shortest = min(map(len, prompts))
    assert length == shortest or len({prompt[length] for prompt in prompts}) > 1


def test_every_prompt_keeps_a_token_of_its_own() -> None:
    start = tuple(range(MIN_SHARED_TOKENS + 4))
    assert shared_tokens([start, (*start, 7)]) == len(start) - 1
    assert shared_tokens([start, start]) == len(start) - 1


def test_short_prefixes_and_single_prompts_share_nothing() -> None:
    start = tuple(range(MIN_SHARED_TOKENS - 1))
    assert shared_tokens([(*start, 1), (*start, 2)]) == 0
    assert shared_tokens([tuple(range(100))]) == 0


def test_memory_computes_only_what_is_new() -> None:
    computed: list[tuple[int, ...]] = []
    memory = PrefixMemory(lambda ids, _: computed.append(ids))
    assert isinstance(memory.recall((1, 2, 3)), Cache)
    memory.recall((1, 2, 3))
    memory.recall((1, 2, 4, 5))
    memory.recall((1, 2))
    memory.recall((9, 2))
    assert computed == [(1, 2, 3), (4, 5), (9, 2)]
