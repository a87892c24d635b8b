from __future__ import annotations

import math

import pytest
import torch

from luthier.generate.sampling import SamplingSettings, choose_tokens, keep_nucleus

GREEDY = SamplingSettings(temperature=0.0, top_p=1.0, generator=None)


def drawing(seed: int, temperature: float = 1.0, top_p: float = 1.0) -> SamplingSettings:
    return SamplingSettings(temperature, top_p, torch.Generator().manual_seed(seed))


def test_nucleus_by_hand() -> None:
    probabilities = torch.tensor([[0.1, 0.5, 0.3, 0.1]] * 4)
    # 0.5 reaches 0.4 and 0.5 alone; 0.6 needs 0.5 + 0.3; 1 needs all.
    kept = keep_nucleus(probabilities, torch.tensor([0.4, 0.5, 0.6, 1.0]))
    expected = [[0, 0.5, 0, 0], [0, 0.5, 0, 0], [0, 0.5, 0.3, 0], [0.1, 0.5, 0.3, 0.1]]
    torch.testing.assert_close(kept, torch.tensor(expected))


def test_nucleus_is_never_empty() -> None:
    assert keep_nucleus(torch.tensor([[0.2, 0.8]]), torch.tensor([1e-9])).tolist() == [[0, pytest.approx(0.8)]]


def test_greedy_takes_the_most_probable_and_reports_its_logprob() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(9.0), 0.0]])
    choice = choose_tokens(logits, [GREEDY, GREEDY])
    assert choice.ids_R.tolist() == [1, 0]
    assert choice.logprobs_R.tolist() == pytest.approx([math.log(0.75), math.log(0.9)])


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, [0.5, 0.3, 0.2]),
        (0.5, 1.0, [0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38]),  # probabilities squared, normalised
        (1.0, 0.6, [0.625, 0.375, 0.0]),
    ],
)
def test_frequencies_of_draws(temperature: float, top_p: float, expected: list[float]) -> None:
    num_draws = 4000
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(num_draws, 3)
    choice = choose_tokens(logits, [drawing(seed, temperature, top_p) for seed in range(num_draws)])
    shares = (torch.bincount(choice.ids_R, minlength=3) / num_draws).tolist()
    # Four standard errors of the least certain share.
    assert shares == pytest.approx(expected, abs=4 * math.sqrt(0.25 / num_draws))
    if top_p < 1:
        assert shares[2] == 0


def test_logprobs_of_draws_are_of_the_undistorted_model() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
    choice = choose_tokens(logits, [drawing(1, temperature=0.2, top_p=0.5)])
    assert choice.ids_R.tolist() == [0]
    assert choice.logprobs_R.tolist() == pytest.approx([math.log(0.5)])


def test_a_row_draws_the_same_whatever_its_neighbours_do() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    alone = choose_tokens(logits[1:2], [drawing(7, 0.9, 0.8)]).ids_R.tolist()
    mixed = choose_tokens(logits, [drawing(1, 2.0), drawing(7, 0.9, 0.8), GREEDY]).ids_R.tolist()
    assert mixed[1] == alone[0]
    assert mixed[2] == int(logits[2].argmax())


def test_tokens_of_probability_zero_are_never_drawn() -> None:
    logits = torch.full((500, 6), -torch.inf)
    logits[:, 2] = 0.0
    choice = choose_tokens(logits, [drawing(seed) for seed in range(500)])
    assert set(choice.ids_R.tolist()) == {2}


def test_half_precision_logits_are_scored_in_float32() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    choice = choose_tokens(logits, [GREEDY])
    assert choice.logprobs_R.dtype == torch.float32
    expected = 3.0 - math.log(math.exp(1) + math.exp(2) + math.exp(3))
    assert choice.logprobs_R.tolist() == pytest.approx([expected], abs=1e-6)
