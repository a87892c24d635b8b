"""After training: what was saved is what was trained, it is used as it was trained, and it stops by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from luthier.data.template import ChatTemplate
from luthier.errors import ModelError
from luthier.generate.protocol import Completion
from luthier.models.contract import InferenceContract
from luthier.models.result import differences
from luthier.types import Check, Conversation

LEAST_STOP_SHARE = 0.8


def saved_equals_live(model: torch.nn.Module, folder: Path) -> Check:
    """Every tensor of the saved result, read back from disk, equals the live model's."""
    found = differences(model, folder)
    return Check(
        name="result.reopened",
        claim=f"The saved {folder.name}, opened again, equals the trained one in every tensor.",
        measured="equal" if not found else f"{len(found)} differences, first: {found[0]}",
        limit="equal",
        unit="",
        passed=not found,
        advice="The artefact is not what was trained. The checkpoints are intact: luthier train --resume writes it again.",
    )


def serving_equals_training(
    template: ChatTemplate, contract_folder: Path, tokenizer: Any, conversations: Sequence[Conversation]
) -> Check:
    """The saved contract and tokenizer, loaded again as a server would, give the token ids that were trained."""
    try:
        served = InferenceContract.load(contract_folder).chat_template(tokenizer)
        different = [why for c in conversations if (why := _serving_difference(template, served, c))]
    except ModelError as error:
        different = [str(error)] * len(conversations)
    return Check(
        name="result.serving_tokens",
        claim=f"Serving renders {len(conversations)} sampled conversations to the token ids that were trained.",
        measured=f"{len(conversations) - len(different)} equal"
        + (f"; first other: {different[0]}" if different else ""),
        limit=f"{len(conversations)} equal",
        unit="",
        passed=not different,
        advice="The model would be asked in another way than it was taught. Do not serve it before this passes.",
    )


def _serving_difference(template: ChatTemplate, served: ChatTemplate, conversation: Conversation) -> str | None:
    trained, again = (
        [(view.ids.tolist(), view.trained.tolist()) for view in each.encode_turns(conversation)]
        for each in (template, served)
    )
    if trained != again:
        return f"{conversation.source}: other token ids"
    mismatch = served.serving_mismatch(conversation, by_turn=True)
    return f"{conversation.source}: {mismatch}" if mismatch else None


def stop_share(answers: Sequence[Completion]) -> float:
    """Share of answers that ended by themselves."""
    return sum(answer.finish_reason == "stop" for answer in answers) / len(answers)


def still_stops(base: Sequence[Completion], tuned: Sequence[Completion]) -> Check:
    """As `tuned_model_stops`, of a training that compares answers: it teaches no endings, but must not unteach them."""
    before, after = stop_share(base), stop_share(tuned)
    least = max(0.0, min(LEAST_STOP_SHARE, before - 1 / len(tuned)))  # one prompt more or less is chance
    return Check(
        name="result.stops",
        claim=f"The tuned model ends its answers as often as the base model ({len(tuned)} validation prompts).",
        measured=round(100 * after, 1),
        limit=round(100 * least, 1),
        unit="%",
        passed=after >= least - 1e-9,  # thirds are not exact
        advice="The training pushed endings away: longer answers may be the better ones in nearly all pairs. Balance their "
        "lengths, use a loss per token (sigmoid_norm, simpo), or set objective.sft_weight.",
    )


def tuned_model_stops(base: Sequence[Completion], tuned: Sequence[Completion]) -> Check:
    """Share of answers that end with an end-of-turn token, base against tuned."""
    before, after = stop_share(base), stop_share(tuned)
    return Check(
        name="result.stops",
        claim=f"The tuned model ends its answers by itself ({len(tuned)} validation prompts; base model: {100 * before:.0f} %).",
        measured=round(100 * after, 1),
        limit=100 * LEAST_STOP_SHARE,
        unit="%",
        passed=after >= LEAST_STOP_SHARE,
        advice="It was not trained long enough to learn where answers end, or answers in the data are longer than the test "
        "allows: raise evaluate.max_new_tokens, or train longer.",
    )
