"""Each repair by cases made by hand: what becomes of a text, and what is left alone."""

from __future__ import annotations

import pytest

from luthier.data.any_rows import RecognisedFile
from luthier.data.clean import (
    control_characters,
    echoed_prompt,
    mojibake,
    role_order,
    template_markers,
    white_space,
)
from luthier.data.clean.catalogue import REPAIRS, choose_repairs
from luthier.data.clean.cleaner import Cleaned, Cleaner
from luthier.data.clean.repair import Given
from luthier.data.formats import recognise
from luthier.data.lint.catalogue import RULES
from luthier.data.preferences import to_pair
from luthier.data.row import Row
from luthier.errors import InputError
from luthier.types import Source

FENCE = "```"


def clean(*values, repairs=None, given=None) -> list[Cleaned]:
    rows = [Row(v, Source("in.jsonl", i + 1)) for i, v in enumerate(values)]
    found = recognise(rows)
    file = RecognisedFile("in.jsonl", found.name, found.why, len(rows), (), found.unused, found.to_item, None)
    cleaner = Cleaner(choose_repairs(repairs), given or Given(), {})
    return [cleaner.clean(file, row, file.to_item(row), i) for i, row in enumerate(rows)]


def chat(*texts, **more):
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)], **more}


def said(cleaned: Cleaned) -> list[str]:
    return [message["content"] for message in cleaned.row.values["messages"]]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("schÃ¶n und donâ€™t", "schön und don’t"),
        ("“quotes” and ﬁ stay, Ｗide too", "“quotes” and ﬁ stay, Ｗide too"),
        ("plain", "plain"),
    ],
)
def test_mojibake(before, after):
    assert mojibake.repaired(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\x00b\x07c", "abc"),
        ("\ufeffstart", "start"),
        ("zero\u200bwidth, soft\u00adhyphen", "zerowidth, softhyphen"),
        ("one\u2028two\x0cthree", "one\ntwo\nthree"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x93quoted\x94", "“quoted”"),
        ("a\u202eb\u202c", "ab"),
        ("lost \ufffd sign", "lost \ufffd sign"),
        ("family \U0001f468\u200d\U0001f469", "family \U0001f468\u200d\U0001f469"),
        ("tab\tand\r\nbreak", "tab\tand\r\nbreak"),
    ],
)
def test_control_characters(before, after):
    assert control_characters.repaired(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<p>One</p><p>Two &amp; <b>three</b></p>", "One\n\nTwo & three"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("x&nbsp;y &lt; z &#39;q&#39;", "x y < z 'q'"),
        ("<ul><li>a</li>\n  <li>b</li></ul> then", "- a\n- b\nthen"),
        ("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr></table>", "1 | 2\n3 | 4"),
        ('see <a href="https://x.org/y">here</a>', "see here (https://x.org/y)"),
        ('<a href="https://x.org">https://x.org</a>!', "https://x.org!"),
        ('<img src="a.png" alt="a cat">', "a cat"),
        ("<script>var a = 1;</script>done<!-- hidden -->", "done"),
        ("List<String> a < b, i<j", "List<String> a < b, i<j"),
        ("use &lt;b&gt; here", "use `<b>` here"),
        (f"<i>this</i> {FENCE}\n<b>code</b>\n{FENCE} `<br>`", f"this {FENCE}\n<b>code</b>\n{FENCE} `<br>`"),
        ("&amp;amp; twice", "& twice"),
        ("R&D and AT&T;", "R&D and AT&T;"),
    ],
)
def test_html_remnants(before, after):
    (cleaned,) = clean(chat("q", before), repairs=["html_remnants"])
    assert said(cleaned)[1] == after
    assert cleaned.left == []


def test_rows_about_html_stay():
    (cleaned,) = clean(chat("How do I write bold in HTML?", "<b>so</b>"), repairs=["html_remnants"])
    assert cleaned.changes == cleaned.left == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  a \n", "a"),
        ("\n\n  a\nb", "a\nb"),
        ("\n    return x\n    y = 2\n", "    return x\n    y = 2"),
        ("a\n\n  b  \nc", "a\n\n  b  \nc"),
        (" \t\n ", ""),
    ],
)
def test_white_space(before, after):
    assert white_space.repaired(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<|im_start|>user\nHello<|im_end|>\n", "Hello"),
        ("<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\nHi<|eot_id|>", "\n\nHi"),
        ("<s>[INST] Say it [/INST]", "Say it"),
        ("It is so.</s>", "It is so."),
        ("<start_of_turn>model\nYes<end_of_turn>", "Yes"),
        ("### Response:\nYes", "\nYes"),
        ("user error<|im_end|>", "user error"),
        ("Say <|im_start|> aloud", "Say <|im_start|> aloud"),
        ("<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nB<|im_end|>",) * 2,
        ("<|endoftext|>",) * 2,
    ],
)
def test_template_markers(before, after):
    assert template_markers.repaired(before) == after


def test_control_tokens_of_a_model_are_markers_too():
    row = chat("q", "answer<|stop|>")
    assert clean(row, repairs=["template_markers"])[0].changes == []
    (cleaned,) = clean(row, repairs=["template_markers"], given=Given(("<|stop|>",)))
    assert said(cleaned)[1] == "answer"
    (cleaned,) = clean(chat("q", "a <|stop|> b"), repairs=["template_markers"], given=Given(("<|stop|>",)))
    assert cleaned.left == ["template_markers"]


def test_role_order_joins_plain_neighbours_and_drops_the_end():
    u, a, s = (lambda text, role=role: {"role": role, "content": text} for role in ("user", "assistant", "system"))
    assert role_order.in_order([s("x"), s("y"), u("a "), u(" b"), a("c"), a(""), u("thanks")]) == [
        s("x\n\ny"),
        u("a\n\nb"),
        a("c"),
    ]
    g, h = ({"from": who, "value": who} for who in ("gpt", "human"))
    assert role_order.in_order([h, h, g, g]) == [
        {"from": "human", "value": "human\n\nhuman"},
        {"from": "gpt", "value": "gpt\n\ngpt"},
    ]
    named, weighted = {**u("a"), "name": "Ann"}, {**a("x"), "weight": 0}
    calling = {**a(""), "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}
    for unlike in ([u("b"), named, a("c")], [u("q"), weighted, a("c")], [u("q"), calling, a("c")], [u("no answer")]):
        assert role_order.in_order(unlike) == unlike


def test_what_role_order_cannot_repair_is_named():
    row = {"messages": [{"role": "assistant", "content": "Hello"}, *chat("q", "a")["messages"]]}
    (cleaned,) = clean(row, repairs=["role_order"])
    assert (cleaned.left, cleaned.row.values) == (["role_order"], row)


@pytest.mark.parametrize(
    ("asked", "answer", "after"),
    [
        ("What is the capital of France?", "What is the capital of France? Paris.", "Paris."),
        ("What is the capital of France?", "**what is the capital of france**\n\nParis.", "Paris."),
        ("How much is seven minus twelve?", "How much is seven minus twelve? -5", "-5"),
        ("What is the capital of France?", "What is the capital of France", "What is the capital of France"),
        ("Who?", "Who? He.", "Who? He."),
    ],
)
def test_echoed_prompt(asked, answer, after):
    assert echoed_prompt.without_prompt(answer, asked) == after


def test_echoed_prompts_are_cut_in_every_layout():
    asked, answer, short = "What is the capital of France?", "What is the capital of France? Paris.", "Paris."
    for row in (
        {"instruction": asked, "input": "", "output": answer},
        {"prompt": asked, "completion": answer},
        {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]},
    ):
        (cleaned,) = clean(row, repairs=["echoed_prompt"])
        assert answer not in str(cleaned.row.values)
        assert str(cleaned.row.values) == str(row).replace(answer, short)
        assert [(c.before, c.after) for c in cleaned.changes] == [(answer, short)]


def test_an_answer_without_a_place_of_its_own_stays_and_is_named():
    asked, answer = "What is the capital of France?", "What is the capital of France? Paris."
    (cleaned,) = clean(chat(asked, answer, asked, answer), repairs=["echoed_prompt"])
    assert (cleaned.changes, cleaned.left) == ([], ["echoed_prompt"])


def test_a_transcript_is_repaired_as_one_text_and_its_echo_is_named():
    asked, answer = "What is the capital of France?", "What is the capital of France? Paris."
    row = {
        "chosen": f"\n\nHuman: {asked}\n\nAssistant: {answer} schÃ¶n",
        "rejected": f"\n\nHuman: {asked}\n\nAssistant: no",
    }
    one = Row(row, Source("in.jsonl", 1))
    file = RecognisedFile("in.jsonl", "preference", "", 1, tuple(row), (), to_pair, None)
    cleaned = Cleaner(choose_repairs(["mojibake", "echoed_prompt"]), Given(), {}).clean(file, one, to_pair(one), 0)
    assert [(c.rule, c.path) for c in cleaned.changes] == [("mojibake", ("chosen",))]
    assert cleaned.row.values["chosen"].endswith("schön")
    assert cleaned.left == ["echoed_prompt"]


def test_rows_go_with_the_reason():
    rows = [
        chat("q", "a"),
        chat("q ", "a\n"),
        chat("Q!", "A"),
        chat("empty", " "),
        chat("who", "As an AI language model I cannot."),
    ]
    cleaned = clean(*rows, repairs=["safe", "boilerplate", "duplicate_rows"])
    assert [(c.dropped_by, c.reason) for c in cleaned] == [
        ("", ""),
        ("equal_rows", "equals in.jsonl:1"),
        ("duplicate_rows", "has the same words as in.jsonl:1"),
        ("empty_answer", "an answer has no text"),
        ("boilerplate", "another model speaks of itself: As an AI language model I cannot…"),
    ]
    assert [c.dropped_by for c in clean(chat("x", "a < b"), chat("x", "a > b"))] == ["", ""]


def test_an_edit_after_which_a_row_would_not_fit_is_not_made():
    (cleaned,) = clean({"prompt": "<!-- x -->", "completion": "a"}, repairs=["html_remnants"])
    assert (cleaned.changes, cleaned.left) == ([], ["html_remnants"])


def test_names_are_those_of_rules_and_misspelt_ones_are_explained():
    own = {"white_space", "equal_rows", "row_does_not_fit"}
    assert set(REPAIRS) - set(RULES) == own
    assert [r.name for r in choose_repairs()] == [r.name for r in choose_repairs(["safe"])]
    assert [r.name for r in choose_repairs(["role_order", "mojibake"])] == ["mojibake", "role_order"]
    with pytest.raises(InputError, match="Did you mean 'mojibake'"):
        choose_repairs(["mojibak"])
