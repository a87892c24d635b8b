"""Log-probabilities of given texts against plain transformers, one text at a time, and against lm-evaluation-harness."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from luthier.data.template import ChatTemplate
from luthier.errors import ModelError
from luthier.evaluation.likelihood import Continuation, LikelihoodModel, as_answer, as_text
from luthier.evaluation.protocol import Likelihood, TaskRow
from luthier.evaluation.scorers.multiple_choice import MultipleChoice
from luthier.evaluation.scorers.perplexity import Perplexity
from luthier.evaluation.scorers.preference import Preference
from luthier.models.adapters import add_lora
from luthier.types import Message
from tests.tiny import FAMILIES, tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
TEMPLATE = ChatTemplate.from_tokenizer(TOKENIZER)
QUESTION = (Message("user", "Which colour?"),)
CHOICES = ["red", "dark green", "blue, or grey", "teal"]


def _plain(model: nn.Module, context: tuple[int, ...], ids: tuple[int, ...]) -> float:
    """log p(ids | context) by one forward pass with full logits."""
    whole = torch.tensor([[*context, *ids]])
    with torch.no_grad():
        logp = model(input_ids=whole).logits[0, :-1].float().log_softmax(-1)
    return float(logp.gather(1, whole[0, 1:, None])[len(context) - 1 :].double().sum())


def _tiny(family: str = "llama", **overrides: Any) -> nn.Module:
    return tiny_model(family, vocab_size=len(TOKENIZER), **overrides)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "cohere"])
def test_choices_equal_plain_transformers(family: str) -> None:
    model = _tiny(family)
    texts = [as_answer(TEMPLATE, QUESTION, choice) for choice in CHOICES]
    texts += [as_answer(TEMPLATE, (Message("user", "And now?"),), choice) for choice in CHOICES[:2]]
    expected = [_plain(_tiny(family), each.context_ids, each.ids) for each in texts]
    for budget in (4096, 8):  # all in one batch, and one question at a time
        measured = LikelihoodModel(model, budget_tokens=budget).measure(texts)
        assert [each.logprob for each in measured] == pytest.approx(expected, rel=1e-5, abs=1e-4)
        assert [each.num_tokens for each in measured] == [len(each.ids) for each in texts]


def test_an_answer_is_what_is_served_and_learnt() -> None:
    messages = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    found = as_answer(TEMPLATE, messages, "d e")
    assert list(found.context_ids) == TEMPLATE.prompt_ids(messages)
    assert TOKENIZER.decode(list(found.ids)) == "d e"
    assert found.num_bytes == 3


def test_text_goes_on_from_bare_text_with_its_space() -> None:
    found = as_text(TEMPLATE, "Name: ", "Ö")
    assert TOKENIZER.decode(list(found.context_ids)) == "Name:"
    assert TOKENIZER.decode(list(found.ids)) == " Ö"
    assert found.num_bytes == 3
    alone = as_text(TEMPLATE, "", "abc def")
    assert (*alone.context_ids, *alone.ids) == tuple(TOKENIZER("abc def", add_special_tokens=False)["input_ids"])
    assert len(alone.context_ids) == 1
    assert alone.num_bytes == 7 - len(TOKENIZER.decode(list(alone.context_ids)))
    with pytest.raises(ModelError, match="no tokens behind its beginning"):
        as_text(TEMPLATE, "", "x")


def test_base_and_tuned_of_one_model() -> None:
    plain = _tiny()
    model = add_lora(_tiny(), rank=4, alpha=8, dropout=0.0, target_modules="all-linear",
                     trainable_token_ids=(), dtype=torch.float32, seed=0)  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
    texts = [as_answer(TEMPLATE, QUESTION, choice) for choice in CHOICES]
    measure = LikelihoodModel(model)
    base = [each.logprob for each in measure.measure(texts, use_adapter=False)]
    tuned = [each.logprob for each in measure.measure(texts)]
    assert base == pytest.approx([_plain(plain, each.context_ids, each.ids) for each in texts], rel=1e-5)
    assert all(abs(a - b) > 1e-3 for a, b in zip(base, tuned, strict=True))
    assert [each.logprob for each in measure.measure(texts)] == tuned


def test_perplexity_equals_a_plain_loop() -> None:
    model = _tiny()
    documents = ["SELECT name FROM customers WHERE city = 'Oslo';", "the colour of the user", "grün, ja"]
    scorer = Perplexity()
    nats = tokens = num_bytes = 0.0
    for text in documents:
        ids = tuple(TOKENIZER(text, add_special_tokens=False)["input_ids"])
        nats -= _plain(_tiny(), ids[:1], ids[1:])
        tokens += len(ids) - 1
        num_bytes += len(TOKENIZER.decode(ids[1:]).encode())
    measured = LikelihoodModel(model).measure([as_text(TEMPLATE, "", text) for text in documents])
    rows = [TaskRow(str(i), (), text) for i, text in enumerate(documents)]
    scores = [scorer.judge(row, [each]) for row, each in zip(rows, measured, strict=True)]
    bits = sum(score.value * score.weight for score in scores) / sum(score.weight for score in scores)
    assert bits == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-5)
    from luthier.evaluation.protocol import Judged

    figures = scorer.summarise([Judged(row, score) for row, score in zip(rows, scores, strict=True)])
    assert figures["perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-5)


def test_long_text_is_measured_window_by_window() -> None:
    model = _tiny(max_position_embeddings=16)
    ids = tuple(TOKENIZER("the colour of the customers in Oslo " * 5, add_special_tokens=False)["input_ids"])
    assert len(ids) > 40
    expected = sum(
        _plain(_tiny(max_position_embeddings=16), ids[s : s + 1], ids[s + 1 : s + 16])
        for s in range(0, len(ids) - 1, 15)
    )
    (measured,) = LikelihoodModel(model).measure([Continuation(ids[:1], ids[1:], "text", 100)])
    assert measured.logprob == pytest.approx(expected, rel=1e-5)
    assert measured.num_tokens == len(ids) - 1
    with pytest.raises(ModelError, match="longer than the model's 16 positions"):
        LikelihoodModel(model).measure([Continuation(ids[:10], ids[10:], "text", 100)])


def test_numbers_that_are_none_are_an_error() -> None:
    model = _tiny()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="computed no number"):
        LikelihoodModel(model).measure([as_answer(TEMPLATE, QUESTION, "red")])


def test_acc_and_acc_norm_by_hand() -> None:
    scorer = MultipleChoice()
    row = TaskRow("1", QUESTION, {"choices": ["ab", "abcdef"], "answer": "B"})
    # Sums −2 and −3: the first wins. By length −1 and −0.5: the second.
    score = scorer.judge(row, [Likelihood("ab", -2.0, 1, 2), Likelihood("abcdef", -3.0, 3, 6)])
    assert (score.value, score.measures, score.found) == (0.0, {"acc_norm": 1.0}, "ab")
    assert scorer.continuations(row) == ["ab", "abcdef"]
    assert MultipleChoice(prompt_format="text").continuations(row) == [" ab", " abcdef"]


@pytest.mark.parametrize(
    ("answer", "problem"), [(1, ""), ("B", ""), ("(b)", ""), ("abc", ""), ("1", ""), (2, "none of"), ("C", "none of")]
)
def test_answers_of_multiple_choice(answer: object, problem: str) -> None:
    found = MultipleChoice().reference_problem({"choices": ["ab", "abc"], "answer": answer})
    assert (problem in found) if problem else found == ""


def test_multiple_choice_needs_choices() -> None:
    for reference in ("text", {"choices": ["one"], "answer": 0}, {"choices": None, "answer": 0}):
        assert "at least two choices" in MultipleChoice().reference_problem(reference)


def test_preference_by_hand() -> None:
    row = TaskRow("1", QUESTION, {"chosen": "long answer", "rejected": "no"})
    score = Preference().judge(row, [Likelihood("long answer", -6.0, 6, 11), Likelihood("no", -2.0, 1, 2)])
    assert (score.value, score.measures) == (0.0, {"per_token": 1.0})
    score = Preference().judge(row, [Likelihood("long answer", -2.0, 1, 11), Likelihood("no", -2.0, 1, 2)])
    assert (score.value, score.measures) == (0.5, {"per_token": 0.5})
    assert Preference().reference_problem({"chosen": "a", "rejected": "b"}) == ""
    assert "the same" in Preference().reference_problem({"chosen": "a", "rejected": "a"})
    assert "two texts" in Preference().reference_problem({"chosen": "a", "rejected": None})


def test_multiple_choice_equals_lm_eval() -> None:
    """The same rows through lm-evaluation-harness' own model class and its own multiple-choice scoring."""
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=_tiny(), tokenizer=TOKENIZER, batch_size=2, max_length=128)
    model = LikelihoodModel(_tiny())
    scorer = MultipleChoice(prompt_format="text")
    questions = ["The colour of the customer is", "WHERE city =", "SELECT name FROM", "user and assistant:"]
    for number, question in enumerate(questions):
        requests = [
            Instance("loglikelihood", {}, (question, f" {choice}"), i, (None, None, None))
            for i, choice in enumerate(CHOICES)
        ]
        theirs = [logprob for logprob, _ in harness.loglikelihood(requests, disable_tqdm=True)]
        row = TaskRow("1", (Message("user", question),), {"choices": CHOICES, "answer": number})
        ours = model.measure([as_text(TEMPLATE, question, text) for text in scorer.continuations(row)])
        assert [each.logprob for each in ours] == pytest.approx(theirs, rel=1e-4)
        best = max(range(4), key=lambda i: theirs[i])
        best_norm = max(range(4), key=lambda i: theirs[i] / len(CHOICES[i]))
        score = scorer.judge(row, ours)
        assert score.value == float(best == number)
        assert score.measures == {"acc_norm": float(best_norm == number)}
