"""Two answers to a prompt of which a judge says that one is better.

Several answers are drawn, each is scored, best and worst are compared. The judge sees these two in both orders and must choose
the same one twice: a judge that goes by the place would make pairs of nothing. What it contradicts itself about, or scores
alike, is set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.data.asking import Answer, Ask, Question
from luthier.data.generation.asked_json import NotAsAskedError, ask_json, text_under
from luthier.data.generation.making import Aside, Cost, Made, Wishes, as_json, prompt_tokens, provenance
from luthier.data.generation.prompts import COMPARE, SCORE, prompt_text
from luthier.types import Conversation, Message

LEAST_ANSWERS = 2
_JUDGE_TOKENS, _LIKELY_JUDGE_TOKENS, _LIKELY_TOKENS = 200, 40, 250
_BEST, _WORST = 10, 1


class PreferencePairs:
    """A `Maker` from conversations up to the message that is to be answered.

    Args:
        prompts: They.
        wishes: How many answers, and how they are drawn.
        judge: Who judges; None for whoever answers.
    """

    def __init__(self, prompts: Sequence[Conversation], wishes: Wishes, judge: Ask | None = None) -> None:
        self.things = prompts
        self._wishes, self._judge = wishes, judge

    def judged_by(self, judge: Ask) -> PreferencePairs:
        """The same with somebody to judge."""
        return PreferencePairs(self.things, self._wishes, judge)

    def cost(self, thing: Conversation) -> Cost:
        """Answers, a score of each, and two comparisons."""
        wishes, each = self._wishes, self._wishes.each
        questions = tuple(self._question(thing, seed) for seed in range(each))
        own, judging = each * prompt_tokens(questions[0]), prompt_tokens(self._scoring(thing, ""))
        likely = min(wishes.max_tokens, _LIKELY_TOKENS)
        read_by_judge = (each + 2) * judging + (each + 4) * likely
        return Cost(
            questions,
            2 * each + 2,
            own + read_by_judge,
            each * likely + (each + 2) * _LIKELY_JUDGE_TOKENS,
            each * wishes.max_tokens + (each + 2) * _JUDGE_TOKENS,
        )

    def make(self, thing: Conversation, ask: Ask) -> Made:
        """Draw, score, compare."""
        source, judge = str(thing.source), self._judge or ask
        answers: dict[str, Answer] = {}
        for seed in range(self._wishes.each):
            answer = ask(self._question(thing, seed))
            if not answer.was_cut:
                answers.setdefault(answer.text.strip(), answer)
        texts = list(answers)
        if len(texts) < LEAST_ANSWERS:
            reason = "all answers are equal, or cut off by the limit (--max-tokens)"
            return Made(aside=[Aside(source, "answers_do_not_differ", reason, {"answers": texts})])
        try:
            scores = [ask_json(judge, self._scoring(thing, text), _read_score) for text in texts]
            values = [score for score, _ in scores]
            best, worst = values.index(max(values)), values.index(min(values))
            judged = {"answers": texts, "scores": values}
            if values[best] == values[worst]:
                return Made(
                    aside=[Aside(source, "judge_sees_no_difference", f"all have {values[best]} points", judged)]
                )
            chosen, rejected = texts[best], texts[worst]
            first, verdict = ask_json(judge, self._comparing(thing, chosen, rejected), _read_better)
            second, _ = ask_json(judge, self._comparing(thing, rejected, chosen), _read_better)
        except NotAsAskedError as bad:
            return Made(aside=[Aside(source, "answer_not_as_asked", f"the judge: {bad.reason}", {"answer": bad.said})])
        if (first, second) != ("A", "B"):
            reason = (
                "the judge chooses by the place"
                if first == second
                else "the judge prefers the answer with fewer points"
            )
            return Made(aside=[Aside(source, "judge_contradicts_itself", reason, judged)], num_contradictions=1)
        origin = provenance(
            "preferences",
            source,
            f"{SCORE} {COMPARE}",
            answers[chosen],
            judge=verdict.model,
            scores=[values[best], values[worst]],
        )
        row = {
            "prompt": [{"role": m.role, "content": m.content} for m in thing.messages],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
            "margin": values[best] - values[worst],
            **origin,
        }
        return Made([row])

    def compared(self, row: dict[str, Any]) -> Conversation:
        """The prompt: of two pairs about nearly the same, the first stays."""
        return Conversation(tuple(Message(m["role"], m["content"]) for m in row["prompt"]))

    def _question(self, prompt: Conversation, seed: int) -> Question:
        return Question(prompt.messages, self._wishes.max_tokens, self._wishes.temperature, seed)

    def _scoring(self, prompt: Conversation, answer: str) -> Question:
        return self._judging(SCORE, prompt, answer=answer)

    def _comparing(self, prompt: Conversation, first: str, second: str) -> Question:
        return self._judging(COMPARE, prompt, answer=first, other=second)

    def _judging(self, name: str, prompt: Conversation, **answers: str) -> Question:
        text = prompt_text(name, instruction=self._wishes.instruction, text=as_json(prompt.messages), **answers)
        return Question((Message("user", text),), _JUDGE_TOKENS)


def _read_score(content: Any) -> int:
    score = content.get("score") if isinstance(content, dict) else None
    if isinstance(score, bool) or not isinstance(score, int | float) or not _WORST <= score <= _BEST:
        raise NotAsAskedError(f'"score" is no number from {_WORST} to {_BEST}')
    return round(score)


def _read_better(content: Any) -> str:
    better = text_under(content, "better", "it").upper().removeprefix("ANSWER ").strip()
    if better not in ("A", "B"):
        raise NotAsAskedError('"better" is neither A nor B')
    return better
