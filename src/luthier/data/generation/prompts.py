"""What models are asked, word by word. A prompt that is changed gets another number: rows say which one they come from."""

from __future__ import annotations

import re

QUESTION_ANSWER = "question_answer/1"
VARIATION = "variation/1"
SCORE = "score/1"
COMPARE = "compare/1"

_TEXTS = {
    QUESTION_ANSWER: """\
Write {count} questions with their answers about the text below, as examples for training an assistant.
- A question must make sense to somebody who does not have the text before them: name what it is about, never "the text".
- The answer is complete and correct by the text alone; nothing is added to it.
- The questions differ in what they ask and in how they ask it. Use the language of the text.
{instruction}
Answer with JSON alone: {"examples": [{"question": "…", "answer": "…"}]}

Text:
{text}""",
    VARIATION: """\
Here is an example conversation from the training data of an assistant, as JSON:
{text}

Write {count} new ones of the same kind. Each has the same roles in the same order, but asks for something else, in other words;
its answers are correct and as long and as formatted as those of the example. Use the language of the example.
{instruction}
Answer with JSON alone: {"examples": [{"messages": [{"role": "…", "content": "…"}]}]}""",
    SCORE: """\
Judge the answer of an assistant to the last message of a conversation: correct, complete, to the point, well written.
{instruction}
Conversation:
{text}

Answer to judge:
{answer}

Answer with JSON alone: {"score": a whole number from 1 (useless) to 10 (nothing to improve), "reason": "one sentence"}""",
    COMPARE: """\
Which of two answers of an assistant to the last message of a conversation is better: correct, complete, to the point, well
written?
Their length and their order say nothing.
{instruction}
Conversation:
{text}

Answer A:
{answer}

Answer B:
{other}

Answer with JSON alone: {"better": "A" or "B", "reason": "one sentence"}""",
}


def prompt_text(name: str, *, instruction: str = "", **parts: str) -> str:
    """A prompt with its parts; what a part says is never taken for a part itself."""
    template = _TEXTS[name] if instruction else _TEXTS[name].replace("{instruction}\n", "")
    parts["instruction"] = instruction.strip()
    return re.sub(r"\{(\w+)\}", lambda part: parts[part.group(1)], template)
