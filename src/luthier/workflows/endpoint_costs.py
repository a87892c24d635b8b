"""What contenders behind endpoints cost: reckoned before they are asked, and counted afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from luthier.evaluation.asked import questions_of
from luthier.evaluation.asking_estimate import AskingEstimate, estimate_asking
from luthier.evaluation.probes.protocol import Probe
from luthier.evaluation.protocol import LikelihoodScorer, Task
from luthier.generate.journal import Journal
from luthier.models.contract import InferenceContract
from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.workflows.find_rival import Rival
from luthier.workflows.rivals import EndpointTerms, Rivals

_LIKELY_ANSWER_TOKENS = 150


class Paid(NamedTuple):
    """What an endpoint was asked now, answers known before aside; `cost` is None where prices are not known."""

    contender: str
    num_asked: int
    prompt_tokens: int
    answer_tokens: int
    cost: float | None


def tell_estimates(
    before_asking: Callable[[AskingEstimate], None],
    folder: RunFolder,
    tasks: Sequence[Task],
    rivals: Sequence[Rival],
    journal: Journal,
    terms: EndpointTerms,
) -> None:
    """Tell what asking the endpoints takes, as far as it is not known already, before anything is loaded."""
    system_prompt = InferenceContract.load(folder.path).system_prompt
    asked = [task for task in tasks if not isinstance(task, Probe) and not isinstance(task.scorer, LikelihoodScorer)]
    prices = None if terms.price_in is None or terms.price_out is None else (terms.price_in, terms.price_out)
    for rival in (rival for rival in rivals if rival.kind == "endpoint"):
        questions = (question for task in asked for question in questions_of(task, system_prompt))
        estimate = estimate_asking(questions, rival.identity, journal, prices, _LIKELY_ANSWER_TOKENS)
        if estimate.num_known < estimate.num_questions:
            before_asking(estimate)


def paid_by(rivals: Rivals, terms: EndpointTerms, reporter: Reporter) -> tuple[Paid, ...]:
    """What the endpoints were asked, said and returned."""
    paid: list[Paid] = []
    for name, chat in rivals.asking.items():
        prompt, answer = (sum(getattr(said, key) for said in chat.asked) for key in ("prompt_tokens", "answer_tokens"))
        cost = None
        if terms.price_in is not None and terms.price_out is not None:
            cost = (prompt * terms.price_in + answer * terms.price_out) / 1e6
        paid.append(Paid(name, len(chat.asked), prompt, answer, cost))
        money = "" if cost is None else f", {cost:,.4f} at these prices"
        reporter.say(f"{name}: {len(chat.asked)} questions were asked, {prompt} + {answer} tokens{money}.")
    return tuple(paid)
