"""The claims about an export, each put to the test on the written files. Limits stand here, with their reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.data.template import ChatTemplate
from luthier.errors import DataError
from luthier.export.agreement import Agreement
from luthier.export.companions import stop_ids_of
from luthier.export.merge import MergePlan, only_weights_changed, unmoved
from luthier.export.weight_files import WeightFiles
from luthier.types import Check, Conversation, Message

KL_LIMITS: dict[str, float] = {
    "fp32": 1e-5,
    "fp16": 1e-3,
    "bf16": 2e-3,
    "q8_0": 3e-2,
    "q6_k": 0.15,
    "q5_k_m": 0.3,
    "q4_k_m": 0.6,
    "int8": 0.15,
    "nf4": 2.0,
    "q8": 3e-2,
    "q4": 2.0,
}
"""Mean KL to the live model, nats. fp32 is rounding in another order; the others are several times, nf4 and q4 twice, what was
measured for a model of 135M parameters, which suffers more than larger ones: beyond them something broke."""

TOP1_LIMITS: dict[str, float] = {"fp32": 0.995, "fp16": 0.97, "bf16": 0.93}
"""Same most probable token; fp32 may differ at near-ties. Quantised forms have no limit here, their loss is told instead."""

LOST_SHARE = 0.1
"""Of what the training did (KL between base and live model), an unquantised merge may lose this much."""


_BROKEN = "The export is not the model that was trained. Nothing was kept; please report this with the run's recipe."
_TOO_COARSE = "So few bits are too few for this model, or something broke. Take a type with more bits, or --to merged."


def weights_as_planned(plan: MergePlan, base: WeightFiles, folder: Path) -> list[Check]:
    """Targeted weights changed, and only those: read back from the disk and held against the base's files."""
    merged = WeightFiles.open(folder)
    wrong = only_weights_changed(plan, base, merged)
    still = unmoved(plan, base, merged)
    copies = len(plan.operations) - len(plan.changed)
    checks = [
        Check(
            name="export.untouched",
            claim=f"The {copies} weights that the adapter does not target equal the base's, bit for bit.",
            measured="equal" if not wrong else f"{len(wrong)} differences, first: {wrong[0]}",
            limit="equal",
            unit="",
            passed=not wrong,
            advice="The merge wrote something that it should not have. Do not use the files.",
        )
    ]
    if plan.changed:
        moved = len(plan.changed) - len(still)
        checks.append(
            Check(
                name="export.targeted",
                claim=f"Weights that the adapter targets have changed ({len(plan.changed)} of them).",
                measured=f"{moved} changed" + (f"; not: {still[0]}" if still else ""),
                limit="more than half",
                unit="",
                passed=2 * moved > len(plan.changed),
                advice="The adapter is empty, or its changes are smaller than the number format can hold: use --dtype fp32.",
            )
        )
    return checks


def predictions_agree(agreement: Agreement, precision: str, what: str) -> list[Check]:
    """The export predicts what the live model does, within the limits of its number format."""
    limit = KL_LIMITS[precision]
    checks = [
        Check(
            name="export.kl",
            claim=f"{what} predicts what the live model does ({agreement.num_positions} positions of real rows, mean KL).",
            measured=_rounded(agreement.kl),
            limit=limit,
            unit="nats",
            passed=agreement.kl <= limit,
            advice=_BROKEN if precision in TOP1_LIMITS else _TOO_COARSE,
        )
    ]
    if precision in TOP1_LIMITS:
        least = TOP1_LIMITS[precision]
        checks.append(
            Check(
                name="export.top1",
                claim=f"{what} has the same most probable token as the live model.",
                measured=round(100 * agreement.top1, 2),
                limit=100 * least,
                unit="%",
                passed=agreement.top1 >= least,
                advice="The export is not the model that was trained. It was removed; please report this with the run's recipe.",
            )
        )
    return checks


def effect_survives(agreement: Agreement, training_kl: float, what: str) -> Check:
    """What is lost by rounding is small beside what the training did."""
    share = agreement.kl / training_kl if training_kl > 0 else math.inf
    return Check(
        name="export.effect",
        claim=f"What {what} loses by rounding is small beside what the training did (KL {training_kl:.2g} nats).",
        measured=_rounded(100 * share),
        limit=100 * LOST_SHARE,
        unit="%",
        passed=share <= LOST_SHARE,
        advice="The training changed the model less than the number format can hold. Export with --dtype fp32, or train longer.",
    )


def _rounded(value: float) -> float | str:
    return float(f"{value:.3g}") if math.isfinite(value) else str(value)


def tokens_equal(
    template: ChatTemplate, tokenizer: Any, conversations: Sequence[Conversation], name: str, what: str
) -> Check:
    """Messages given to another tokenizer, as other programs do, become the token ids of training."""
    different = [why for c in conversations if (why := _token_difference(template, tokenizer, c)) is not None]
    return Check(
        name=name,
        claim=f"{what} turns {len(conversations)} conversations of the run into the token ids of training.",
        measured=f"{len(conversations) - len(different)} equal"
        + (f"; first other: {different[0]}" if different else ""),
        limit=f"{len(conversations)} equal",
        unit="",
        passed=not different,
        advice="Served this way the model would see other tokens than it learnt. Export as merged, and serve it with Luthier.",
    )


def _token_difference(template: ChatTemplate, tokenizer: Any, conversation: Conversation) -> str | None:
    messages = before_last_answer(conversation)
    try:
        trained = template.prompt_ids(messages, conversation.tools)
    except DataError as error:
        return f"{conversation.source}: {error}"
    served = list(
        tokenizer.apply_chat_template(
            [message_dict(m) for m in messages],
            tools=[dict(tool) for tool in conversation.tools] or None,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
    )
    if served == trained:
        return None
    at = next(
        (i for i, (a, b) in enumerate(zip(trained, served, strict=False)) if a != b), min(len(trained), len(served))
    )
    return f"{conversation.source}: token {at} is {served[at : at + 3]}, learnt was {trained[at : at + 3]}"


def before_last_answer(conversation: Conversation) -> tuple[Message, ...]:
    """What the model is asked with; all messages where nobody answers."""
    answers = [i for i, m in enumerate(conversation.messages) if m.role == "assistant"]
    return conversation.messages[: answers[-1]] if answers else conversation.messages


def message_dict(message: Message) -> dict[str, Any]:
    """A message as other programs give it to a template."""
    shaped: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        shaped["name"] = message.name
    if message.thinking is not None:
        shaped["reasoning_content"] = message.thinking
    if message.tool_calls:
        shaped["tool_calls"] = [dict(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        shaped["tool_call_id"] = message.tool_call_id
    return shaped


def stops_as_trained(folder: Path, stop_ids: Sequence[int]) -> Check:
    """generation_config.json ends answers where the contract does."""
    found = stop_ids_of(folder)
    return Check(
        name="export.stops",
        claim="generation_config.json ends answers at the tokens that the model learnt to end them with.",
        measured=", ".join(map(str, found)) or "none",
        limit=", ".join(map(str, stop_ids)),
        unit="",
        passed=found == tuple(stop_ids),
        advice="Answers would not end. Restore generation_config.json from the export.",
    )
