"""Chat templates and tokenizers of real model families: what is learnt, against hand-written expectations and against TRL."""

from __future__ import annotations

import json
import re
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from luthier.data.template import ChatTemplate
from luthier.data.tokenizer_check import check_tokenizer_round_trip
from luthier.errors import DataError
from luthier.types import Conversation, Message
from tests.conftest import SHARED_DATA
from tests.unit.data.test_template import assistant, learnt, user

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the development data are not beside the repository")

JINJA = SHARED_DATA / "templates" / "jinja"
TOKENIZERS = (
    "qwen2_5",
    "phi4",
    "mistral_nemo",
    "mistral_v3",
    "deepseek_v3",
    "deepseek_r1_distill_qwen",
    "smollm2",
)
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CHAT = Conversation(
    (
        Message("system", "Be nice"),
        user("Hello"),
        assistant(" Hi there "),
        user("Who 👩‍🚀 are you?"),
        assistant("Größe\n快"),
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tokenizers")
    with tarfile.open(SHARED_DATA / "tokenizers.tar.xz") as archive:
        archive.extractall(root, filter="data")
    return root / "tokenizers"


@cache
def load(path: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(path)


_SPECIAL = re.compile(r"<\|[\w ]+\|>|<(?:start|end)_of_turn>|<｜[^｜<>']+｜>|\[/?[A-Z_]+\]")


def fit(folder: Path, text: str, eos: str = "<eos>") -> PreTrainedTokenizerBase:
    """Qwen's tokenizer with the control tokens that a template writes added to it."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "qwen2_5")
    tokenizer.add_tokens(sorted({*_SPECIAL.findall(text), "<bos>", eos}), special_tokens=True)
    tokenizer.bos_token, tokenizer.eos_token = "<bos>", eos
    return tokenizer


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("qwen2_5", [" Hi there <|im_end|>", "Größe\n快<|im_end|>"]),
        ("smollm2", [" Hi there <|im_end|>", "Größe\n快<|im_end|>"]),
        ("phi4", [" Hi there <|im_end|>", "Größe\n快<|im_end|>"]),
        ("mistral_nemo", [" Hi there </s>", "Größe\n快</s>"]),
        ("mistral_v3", [" Hi there </s>", "Größe\n快</s>"]),
        ("deepseek_v3", [" Hi there <｜end▁of▁sentence｜>", "Größe\n快<｜end▁of▁sentence｜>"]),
        ("deepseek_r1_distill_qwen", [" Hi there <｜end▁of▁sentence｜>", "Größe\n快<｜end▁of▁sentence｜>"]),
    ],
)
def test_tokenizers_with_their_own_templates(folder, name, answers):
    template = ChatTemplate.from_tokenizer(load(folder / name))
    rendered = template.encode(CHAT)
    assert learnt(template, rendered) == answers
    assert template.serving_mismatch(CHAT) is None
    assert template.special_tokens_in_content(CHAT) == []
    bos = template.tokenizer.bos_token_id
    assert rendered.ids[:2].tolist() != [bos, bos]
    if "bos_token" in template.template or name == "mistral_nemo":
        assert rendered.ids[0] == bos


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_are_those_of_transformers_where_no_answer_starts_with_a_space(folder, name):
    tokenizer = load(folder / name)
    template = ChatTemplate.from_tokenizer(tokenizer)
    messages = (user("Hello"), assistant("Hi there"), user("Who 👩‍🚀 are you?"), assistant("Größe\n快"))
    plain = [{"role": m.role, "content": m.content} for m in messages]
    expected = tokenizer.apply_chat_template(plain, return_dict=True)["input_ids"]
    prompt = tokenizer.apply_chat_template(plain[:3], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert template.encode(Conversation(messages)).ids.tolist() == expected
    assert template.prompt_ids(messages[:3]) == prompt


@pytest.mark.parametrize("name", TOKENIZERS)
def test_typed_control_tokens_stay_text(folder, name):
    tokenizer = load(folder / name)
    template = ChatTemplate.from_tokenizer(tokenizer)
    specials = [t for t in tokenizer.special_tokens_map.values() if isinstance(t, str) and t != tokenizer.unk_token]
    typed = f"say {' and '.join(specials)} now"
    clean = Conversation((user("say it now"), assistant("said it")))
    dirty = Conversation((user(typed), assistant(typed)))
    ids = set(tokenizer.convert_tokens_to_ids(specials))

    def controls(conversation: Conversation) -> list[int]:
        return [token for token in template.encode(conversation).ids.tolist() if token in ids]

    assert controls(dirty) == controls(clean)
    assert template.special_tokens_in_content(dirty) == specials * 2
    assert template.serving_mismatch(dirty) is None
    (answer,) = learnt(template, template.encode(dirty))
    assert answer.strip() == typed + tokenizer.convert_ids_to_tokens(controls(clean)[-1])


@pytest.mark.parametrize(
    ("file", "answers"),
    [
        ("meta-llama-Llama-3.1-8B-Instruct", ["Hi there<|eot_id|>", "Größe\n快<|eot_id|>"]),
        ("meta-llama-Llama-3.2-3B-Instruct", ["Hi there<|eot_id|>", "Größe\n快<|eot_id|>"]),
        ("meta-llama-Llama-3.3-70B-Instruct", ["Hi there<|eot_id|>", "Größe\n快<|eot_id|>"]),
        ("google-gemma-2-2b-it", ["Hi there<end_of_turn>", "Größe\n快<end_of_turn>"]),
        ("microsoft-Phi-3.5-mini-instruct", [" Hi there <|end|>", "Größe\n快<|end|>"]),
        ("Qwen-Qwen2.5-7B-Instruct", [" Hi there <|im_end|>", "Größe\n快<|im_end|>"]),
        ("HuggingFaceTB-SmolLM3-3B", [" Hi there <|im_end|>", "Größe\n快<|im_end|>"]),
        ("Mistral-Small-3.2-24B-Instruct-2506", [" Hi there <eos>", "Größe\n快<eos>"]),
        ("mistralai-Mistral-Nemo-Instruct-2407", [" Hi there <eos>", "Größe\n快<eos>"]),
    ],
)
def test_templates_of_families(folder, file, answers):
    text = (JINJA / f"{file}.jinja").read_text()
    template = ChatTemplate.from_tokenizer(fit(folder, text), template=text)
    rendered = template.encode(CHAT)
    assert learnt(template, rendered) == answers
    assert template.serving_mismatch(CHAT) is None
    assert rendered.ids.tolist().count(template.tokenizer.bos_token_id) == text.count("bos_token }}")
    assert "Be nice" in rendered.text
    assert len(template.encode_turns(CHAT)) == 1


THINKING = Conversation(
    (user("Hello"), assistant("Hi", thinking="so it is"), user("Who?"), assistant("Me", thinking="hm"))
)
INLINE = Conversation(
    (
        user("Hello"),
        assistant("<think>\nso it is\n</think>\n\nHi"),
        user("Who?"),
        assistant("<think>\nhm\n</think>\n\nMe"),
    )
)


@pytest.mark.parametrize("conversation", [THINKING, INLINE], ids=["field", "inline"])
def test_qwen3_forgets_thinking_and_turns_keep_it(folder, conversation):
    text = (JINJA / "Qwen-Qwen3-0.6B.jinja").read_text()
    template = ChatTemplate.from_tokenizer(fit(folder, text), template=text)
    first, last = "<think>\nso it is\n</think>\n\nHi<|im_end|>", "<think>\nhm\n</think>\n\nMe<|im_end|>"

    assert learnt(template, template.encode(conversation)) == ["Hi<|im_end|>", last]
    assert template.serving_mismatch(conversation) is not None
    assert [learnt(template, view) for view in template.encode_turns(conversation)] == [[first], [last]]
    assert template.serving_mismatch(conversation, by_turn=True) is None
    assert template.num_thinking_tokens_lost(conversation) >= 3


def test_qwen3_without_thinking_learns_behind_the_prompt_that_is_served(folder):
    text = (JINJA / "Qwen-Qwen3-0.6B.jinja").read_text()
    template = ChatTemplate.from_tokenizer(fit(folder, text), template=text, template_kwargs={"enable_thinking": False})
    conversation = Conversation((user("Hello"), assistant("Hi"), user("Who?"), assistant("Me")))
    assert learnt(template, template.encode(conversation)) == ["Hi<|im_end|>", "Me<|im_end|>"]
    assert template.serving_mismatch(conversation, by_turn=True) is None
    prompt = template.tokenizer.decode(template.prompt_ids(conversation.messages[:1]))
    assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


@pytest.mark.parametrize(
    "file",
    [
        "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
        "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
        "llama-cpp-deepseek-r1",
        "Qwen-QwQ-32B",
    ],
)
def test_a_prompt_that_opens_thinking_in_front_of_an_answer_without_is_reported(folder, file):
    text = (JINJA / f"{file}.jinja").read_text()
    template = ChatTemplate.from_tokenizer(fit(folder, text), template=text)
    conversation = Conversation((user("Hello"), assistant("Hi")))
    problem = template.serving_mismatch(conversation)
    assert problem is not None
    assert "the server's prompt goes on with '<think>\\n" in problem
    (answer,) = learnt(template, template.encode(conversation))
    assert answer in ("Hi<｜end▁of▁sentence｜>", "Hi<|im_end|>")


@pytest.mark.parametrize(
    ("file", "call"),
    [
        (
            "Qwen-Qwen2.5-7B-Instruct",
            '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call><|im_end|>',
        ),
        ("meta-llama-Llama-3.1-8B-Instruct", '{"name": "get_weather", "parameters": {"city": "Paris"}}<|eot_id|>'),
        ("meta-llama-Llama-3.2-3B-Instruct", '{"name": "get_weather", "parameters": {"city": "Paris"}}<|eot_id|>'),
        (
            "mistralai-Mistral-Nemo-Instruct-2407",
            '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}, "id": "call00000"}]<eos>',
        ),
        (
            "Mistral-Small-3.2-24B-Instruct-2506",
            '[TOOL_CALLS]get_weather[CALL_ID]call00000[ARGS]{"city": "Paris"}<eos>',
        ),
    ],
)
def test_tool_calls_are_learnt_and_tool_results_are_not(folder, file, call):
    text = (JINJA / f"{file}.jinja").read_text()
    template = ChatTemplate.from_tokenizer(fit(folder, text), template=text)
    conversation = Conversation(
        (user("Weather?"), assistant("", tool_calls=(CALL,)), Message("tool", "Sunny"), assistant("It is sunny")),
        tools=(TOOL,),
    )
    first, second = learnt(template, template.encode(conversation))
    assert first == call
    assert re.fullmatch(r"It is sunny<[|\w]+>", second)
    assert template.serving_mismatch(conversation) is None
    assert "Weather of a city" in template.encode(conversation).text


@pytest.mark.parametrize("file", ["HuggingFaceTB-SmolLM3-3B", "microsoft-Phi-3.5-mini-instruct"])
def test_templates_that_cannot_show_tool_calls_say_so(folder, file):
    text = (JINJA / f"{file}.jinja").read_text()
    template = ChatTemplate.from_tokenizer(fit(folder, text), template=text)
    with pytest.raises(DataError, match="leaves the call out"):
        template.encode(Conversation((user("Weather?"), assistant("", tool_calls=(CALL,))), tools=(TOOL,)))


def test_llama_3_2_has_one_date(folder):
    text = (JINJA / "meta-llama-Llama-3.2-3B-Instruct.jinja").read_text()
    tokenizer = fit(folder, text)
    conversation = Conversation((user("Hello"), assistant("Hi")))
    assert (
        "Today Date: 26 Jul 2024\n" in ChatTemplate.from_tokenizer(tokenizer, template=text).encode(conversation).text
    )
    given = ChatTemplate.from_tokenizer(tokenizer, template=text, template_kwargs={"date_string": "01 Jan 2030"})
    assert "Today Date: 01 Jan 2030\n" in given.encode(conversation).text


def cases() -> list[dict]:
    """Where both recorded renderings agree; without Mistral's, whose system message goes into the first question here."""
    path = SHARED_DATA / "derived" / "chat_template_cases_dev12.json"
    recorded = json.loads(path.read_text()) if path.is_file() else []
    return [case for case in recorded if case["agreement"] == "exact" and "system prompt at start" not in case["name"]]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_prompts_equal_recorded_renderings(folder, case):
    messages = [Message(m["role"], m["content"]) for m in case["messages"]]
    tokenizer = AutoTokenizer.from_pretrained(folder / "qwen2_5")
    marks = [token for token in (case["bos_token"], case["eos_token"]) if token]
    tokenizer.add_tokens([*_SPECIAL.findall(case["template"]), *marks], special_tokens=True)
    tokenizer.bos_token, tokenizer.eos_token = (
        case["bos_token"] or "<|object_ref_start|>",
        case["eos_token"] or "<|endoftext|>",
    )
    if not case["bos_token"]:
        case["template"] = case["template"].replace("bos_token", "''")
    template = ChatTemplate.from_tokenizer(tokenizer, template=case["template"])
    assert tokenizer.decode(template.prompt_ids(messages)) == case["transformers_render"]


# TRL's patched template of each family marks what it would train. Left out: families where TRL's markers hold something that is
# never generated (R1, gpt-oss: the generation prompt) and those that end a turn with the next one's marker (GLM).
@pytest.mark.parametrize(
    "name",
    ["qwen2_5", "qwen3", "llama3", "gemma", "phi3", "phi3_5", "cohere", "cohere2", "lfm2", "qwen3_instruct_2507"],
)
def test_mask_equals_trls_assistant_mask(folder, name):
    import trl

    templates = Path(trl.__file__).parent / "chat_templates"
    original, patched = ((templates / f"{name}{suffix}.jinja").read_text() for suffix in ("", "_training"))
    tokenizer = fit(folder, original, eos="<|END_OF_TURN_TOKEN|>" if name.startswith("cohere") else "<eos>")
    messages = (user("Hello there"), assistant("Hi, 👩‍🚀!"), user("Who are you?"), assistant("Größe\nis mine"))
    if name == "qwen3":
        messages = messages[:2]  # TRL's template keeps the form of the last turn for all turns; the original does not
    conversation = Conversation(messages)
    plain = [{"role": m.role, "content": m.content} for m in messages]
    theirs = tokenizer.apply_chat_template(
        plain, chat_template=patched, return_dict=True, return_assistant_tokens_mask=True
    )

    template = ChatTemplate.from_tokenizer(tokenizer, template=original)
    ours = template.encode(conversation)
    assert ours.ids.tolist() == theirs["input_ids"]
    mask = np.asarray(theirs["assistant_masks"], dtype=bool)
    extra = [tokenizer.decode([ours.ids[t]]) for t in np.flatnonzero(mask & ~ours.trained)]
    # Besides the newline behind an end of turn, TRL learns the EOS that Phi 3 writes last: the server has stopped by then.
    assert {text.strip() for text in extra} <= {"", "<eos>" if name.startswith("phi3") else ""}
    assert not (ours.trained & ~mask).any()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_give_text_back(folder, name):
    assert check_tokenizer_round_trip(load(folder / name)) is None


def test_cl100k_under_gpt2s_class_name_is_caught(folder, tmp_path):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_text((folder / "phi4" / file).read_text())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "GPT2Tokenizer"}))

    problem = check_tokenizer_round_trip(AutoTokenizer.from_pretrained(tmp_path))
    assert problem is not None
    assert "PreTrainedTokenizerFast" in problem


@pytest.mark.parametrize("name", ["smollm2", "qwen2_5", "mistral_v3"])
def test_real_rows_at_once_and_one_by_one_give_equal_tokens(folder, name):
    """One template call and one tokenizer call per row, as a server makes them, against the batched path of training."""
    template = ChatTemplate.from_tokenizer(load(folder / name))
    lines = (SHARED_DATA / "tasks" / "gsm8k" / "train.jsonl").read_text().splitlines()[:200]
    rows = [json.loads(line) for line in lines]
    chats = [Conversation((user(row["question"]), assistant(row["answer"]))) for row in rows]
    for chat, (many,) in zip(chats, template.encode_rows(chats), strict=True):
        plain = [{"role": m.role, "content": m.content} for m in chat.messages]
        assert many.ids.tolist() == template.tokenizer.apply_chat_template(plain, return_dict=True)["input_ids"]
        assert many.trained.tolist() == template.encode(chat).trained.tolist()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_mask_equals_one_by_character_offsets(folder, name):
    """Answers of real rows are found again as text; tokens that transformers places inside of them and their end are learnt."""
    template = ChatTemplate.from_tokenizer(load(folder / name))
    lines = (SHARED_DATA / "tasks" / "gsm8k" / "train.jsonl").read_text().splitlines()[:40]
    rows = [json.loads(line) for line in lines]
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        answers = [one["answer"], two["answer"]]
        chat = Conversation(
            (
                Message("system", "Work it out"),
                user(one["question"]),
                assistant(answers[0]),
                user(two["question"]),
                assistant(answers[1]),
            )
        )
        rendered = template.encode(chat)
        places = template.tokenizer(rendered.text, add_special_tokens=False, return_offsets_mapping=True)
        assert places["input_ids"] == rendered.ids.tolist()
        expected = np.zeros(len(rendered.ids), bool)
        for answer in answers:
            start = rendered.text.index(answer)
            end = start + len(answer)  # Mistral's first token takes the space before the answer with it
            inside = [t for t, (a, b) in enumerate(places["offset_mapping"]) if start < b and a < end]
            expected[inside[0] : inside[-1] + 2] = True  # and the end of the turn
        assert rendered.trained.tolist() == expected.tolist()
