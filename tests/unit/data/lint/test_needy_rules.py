"""Rules that look with something beside the rows: a chat template with its tokenizer, evaluation sets, a pipeline for names."""

from __future__ import annotations

import random
import sys
import types

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from luthier.data.contamination import ContaminationIndex
from luthier.data.lint import names, tokenizer
from luthier.data.lint.catalogue import choose_rules
from luthier.data.lint.rule import Given, look
from luthier.data.template import ChatTemplate
from luthier.types import Finding, Message
from tests.tiny import tiny_tokenizer
from tests.unit.data.lint.rows import chat, clean_rows, conversation

DELETES_PAST = (
    "{% for m in messages %}{% if not loop.first and m['role'] == loop.previtem['role'] %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and not loop.last %}{{ m['content'].split('</think>')[-1] }}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DELETES_ALL = DELETES_PAST.replace(" and not loop.last", "")


def asked(rule: str, rows: list, **given: object) -> list[Finding]:
    return look(choose_rules([rule], given=Given(**given)).rules, rows)  # type: ignore[arg-type]


def template(text: str) -> ChatTemplate:
    return ChatTemplate.from_tokenizer(tiny_tokenizer(), template=text)


THOUGHT = "<think>Two and two make four.</think>It is 4."


def test_thinking_that_the_template_deletes():
    rows = [chat("2+2?", THOUGHT, line=1), chat("Hello", "Hi there.", line=2)]
    (finding,) = asked("thinking", rows, template=template(DELETES_ALL))
    assert (finding.severity, finding.num_rows, finding.rows[0].line) == ("warning", 1, 1)
    assert "1 of 1 rows looked at of 1 that have thinking" in finding.message
    assert asked("thinking", rows, template=template(DELETES_PAST)) == []


def test_thinking_deleted_from_earlier_turns_alone_is_a_note():
    (finding,) = asked("thinking", [chat("2+2?", THOUGHT, "And?", "Done.")], template=template(DELETES_PAST))
    assert finding.severity == "note"
    assert asked("thinking", [chat("2+2?", "It is 4.", "And?", "Done.")], template=template(DELETES_PAST)) == []


def test_rows_that_the_template_refuses():
    rows = [
        *clean_rows(30),
        conversation(Message("user", "Q?"), Message("user", "Q!"), Message("assistant", "A."), line=99),
    ]
    (finding,) = asked("template_refuses", rows, template=template(DELETES_PAST))
    assert (finding.severity, finding.num_rows, finding.rows[0].line) == ("error", 1, 99)
    assert "roles must alternate" in finding.example


def test_a_tokenizer_that_suits_gives_no_finding():
    rows = [chat("Größe?", "naïve café 快 👩‍🚀", line=1), *clean_rows(20)]
    assert asked("tokenizer", rows, template=template(DELETES_PAST)) == [] or _only_languages(
        asked("tokenizer", rows, template=template(DELETES_PAST))
    )


def _only_languages(findings: list[Finding]) -> bool:
    """The tiny tokenizer has seen no English: that is said, and nothing else."""
    return all("bytes a token" in finding.message for finding in findings)


def word_tokenizer() -> ChatTemplate:
    """Knows a few words, lower-cases, and has one token for all others."""
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "</s>": 1, "hello": 2, "there": 3, ".": 4}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", eos_token="</s>")
    return ChatTemplate.from_tokenizer(fast, template="{% for m in messages %}{{ m['content'] }}</s>{% endfor %}")


def test_text_that_does_not_come_back_and_unknown_signs_are_named():
    rows = [chat("hello there", "hello there", line=1), chat("hello there", "hello violin", line=2)]
    findings = asked("tokenizer", rows, template=word_tokenizer())
    assert findings[0].severity == "error"  # its probes do not come back either
    changed, unknown = findings[1:]
    assert "do not come back" in changed.message
    assert (unknown.num_rows, unknown.rows[0].line) == (1, 2)
    assert "violin" in unknown.example


@pytest.mark.parametrize(
    ("text", "back", "is_changed"),
    [
        ("Größe ﬁt", "Größe fit", False),
        (" text ", "text", False),
        ("Text", "text", True),
        ("ab", "abc", True),
    ],
)
def test_what_counts_as_the_same_text(text: str, back: str, is_changed: bool):
    assert (tokenizer.first_difference(text, back) is not None) is is_changed


def test_too_many_tokens_for_the_language():
    russian = "Пчёлы зимой сидят тесно вместе и двигают крыльями, чтобы в улье было тепло, и едят мёд, собранный летом."
    rows = [chat("Как?", f"{russian} Номер {i}.", line=i + 1) for i in range(25)]
    (finding,) = asked("tokenizer", rows, template=template(DELETES_PAST))
    assert (finding.severity, finding.num_rows) == ("warning", 25)
    # The tiny byte tokenizer has a token for each byte: about one byte a token, where 5.4 are usual.
    assert "Texts in 'ru' (100.0 % of those looked at) take 1." in finding.message
    assert "it would be 5.4" in finding.message
    assert tokenizer.usual_bytes()["ru"] > 5


def test_lengths_are_counted_in_tokens_where_there_is_a_tokenizer():
    rows = clean_rows(100)
    rows[20] = chat("Explain bread.", "Bread rises slowly. " * 3000, line=21)
    (finding,) = asked("answer_length", rows, template=template(DELETES_PAST))
    count = len(tiny_tokenizer()("Bread rises slowly. " * 3000, add_special_tokens=False)["input_ids"])
    assert (finding.rows[0].line, finding.example) == (21, f"{count:,} tokens")


def test_contamination_by_kind():
    rng = random.Random(0)
    words = [f"word{i}" for i in range(400)]
    questions = [" ".join(rng.sample(words, 30)) for _ in range(40)]
    index = ContaminationIndex()
    for line, question in enumerate(questions[:20], start=1):
        index.add(chat(question, "Yes.", line=line))
    run = " ".join([*questions[1].split()[:15], *rng.sample(words, 30)])
    rows = [chat(question, "No.", line=i) for i, question in enumerate(questions[20:], start=1)]
    rows[4] = chat(questions[0].upper(), "No.", line=5)
    rows[9] = chat(run, "No.", line=10)
    same, shared = asked("contamination", rows, evaluation=index)
    assert (same.severity, [source.line for source in same.rows]) == ("error", [5])
    assert (shared.severity, [source.line for source in shared.rows]) == ("warning", [10])
    assert "1 equal, 0 nearly equal" in same.message
    assert "15 words in a row" in shared.example
    assert asked("contamination", rows[:4], evaluation=index) == []


def test_names_need_a_pipeline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(names, "_installed_pipeline", lambda: "")
    assert "pip install 'luthier[pii]'" in dict(choose_rules().not_run)["names"]


def test_names_of_two_words_are_counted(monkeypatch: pytest.MonkeyPatch):
    """The pipeline is stood in for: what is ours is the sample, what counts, and the words."""
    entity = types.SimpleNamespace
    known = {"Ada Lovelace": "PERSON", "Anna": "PERSON", "New York": "GPE"}

    def pipe(texts: list[str]) -> list[object]:
        return [entity(ents=[entity(text=n, label_=k) for n, k in known.items() if n in text]) for text in texts]

    monkeypatch.setattr(names, "_installed_pipeline", lambda: "xx_names")
    monkeypatch.setattr(names, "_load", lambda _: entity(pipe=pipe))
    rows = [
        chat("Who wrote it?", "Ada Lovelace did.", line=1),
        chat("Who wrote that?", "Anna did.", line=2),
        chat("Where?", "New York.", line=3),
    ]
    (finding,) = asked("names", rows)
    assert (finding.severity, finding.num_rows, finding.rows[0].line) == ("note", 1, 1)
    assert "1 different names, most often Ada Lovelace (1)" in finding.message
    assert "spacy" not in sys.modules
