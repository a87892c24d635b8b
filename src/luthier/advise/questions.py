"""What is asked where nothing was said: the questions on which a verdict depends. No answer is an answer."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Kind = Literal["yes or no", "number", "words", "file"]


class Question(NamedTuple):
    """One question.

    Attributes:
        name: The field of the situation, or of the request (data, evaluation, model).
        text: As it is asked.
        kind: What an answer looks like.
    """

    name: str
    text: str
    kind: Kind


QUESTIONS = (
    Question("task", "What is it about, in a word (code, maths, chat, writing, …)?", "words"),
    Question("few_shot_tried", "Have you tried a prompt with worked examples?", "yes or no"),
    Question("prompt_suffices", "Are answers to the best prompt good enough?", "yes or no"),
    Question("inconsistent", "Are they good now and then, and not always?", "yes or no"),
    Question("fresh_knowledge", "Do answers need current knowledge (prices, news, stock)?", "yes or no"),
    Question("private_documents", "Do answers stand in documents of yours?", "yes or no"),
    Question("changes_often", "Does what is to be known change every month or more often?", "yes or no"),
    Question("strict_format", "Must every answer have one exact format?", "yes or no"),
    Question("style_only", "Is it only style or form that has to change?", "yes or no"),
    Question("persona", "Is a persona or brand voice wanted?", "yes or no"),
    Question("privacy", "Must questions and data stay in the house?", "yes or no"),
    Question("volume", "How many requests a day?", "number"),
    Question("latency_ms", "How many milliseconds may an answer take?", "number"),
    Question("data", "A file with examples?", "file"),
)


def understood(question: Question, answer: str) -> Any:
    """An answer as a value; None for no answer.

    Raises:
        ValueError: It is none of the kind; says what it should look like.
    """
    text = answer.strip()
    if not text or text in ("?", "-"):
        return None
    if question.kind == "yes or no":
        if text.lower() in ("y", "yes", "true"):
            return True
        if text.lower() in ("n", "no", "false"):
            return False
        raise ValueError("Answer y or n, or press Enter where you do not know.")
    if question.kind == "number":
        digits = text.replace(",", "").replace("_", "")
        if not digits.isdigit():
            raise ValueError("Answer with a whole number, or press Enter where you do not know.")
        return int(digits)
    return text
