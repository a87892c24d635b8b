"""Groups of texts: planted topics are found, and numbers agree with their definitions."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from luthier.data.clusters import (
    cluster_texts,
    directions,
    edge_cases,
    effective_number,
    separation,
    spherical_k_means,
    term_weights,
)

TOPICS = {
    "music": ["violin", "concert", "melody", "orchestra", "rhythm", "singer", "piano", "chorus"],
    "sea": ["harbour", "sailor", "anchor", "tide", "island", "lighthouse", "fishing", "wave"],
    "bread": ["flour", "oven", "dough", "yeast", "crust", "baker", "kneading", "rye"],
    "law": ["court", "judge", "contract", "verdict", "witness", "lawyer", "appeal", "clause"],
}


def planted(per_topic: dict[str, int], seed: int = 0) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    rows = [(topic, " ".join(rng.sample(TOPICS[topic], 5))) for topic, n in per_topic.items() for _ in range(n)]
    rng.shuffle(rows)
    return [text for _, text in rows], [topic for topic, _ in rows]


def test_planted_topics_are_found():
    texts, topics = planted(dict.fromkeys(TOPICS, 50))
    found = cluster_texts(texts)
    assert sum(group.size for group in found.groups) == 200
    for group in found.groups:
        (topic,) = {topics[member] for member in group.members}
        assert set(group.words) <= set(TOPICS[topic])
        assert 0.5 < group.cohesion <= 1


def test_it_is_deterministic():
    texts, _ = planted({"music": 50, "sea": 50, "law": 30})
    assert cluster_texts(texts) == cluster_texts(list(texts))


def test_term_weights_by_hand():
    weights, terms = term_weights(["red red apple", "red pear", "green pear", "one", "two"])
    assert terms == ["pear", "red"]
    # df of both is 2 of 5, so both have idf ln 2.5; of the first text only red is left, of the second both weigh the same.
    np.testing.assert_allclose(weights[0], [0, 1], atol=1e-6)
    np.testing.assert_allclose(weights[1], [math.sqrt(0.5)] * 2, atol=1e-6)
    assert not weights[3].any()


def test_directions_keep_the_cosines_of_a_small_matrix():
    rng = np.random.default_rng(0)
    weights = rng.random((30, 12), dtype=np.float32)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    places = directions(weights, 12)
    np.testing.assert_allclose(places @ places.T, weights @ weights.T, atol=1e-4)


def test_effective_number():
    assert effective_number(np.eye(7, dtype=np.float32)) == pytest.approx(7)
    assert effective_number(np.ones((7, 7), np.float32)) == pytest.approx(1)
    blocks = np.kron(np.eye(3), np.ones((4, 4))).astype(np.float32)
    assert effective_number(blocks) == pytest.approx(3)


def test_separation_of_two_points():
    places = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    labels, centres = spherical_k_means(places, 2)
    assert labels[0] == labels[1] != labels[2]
    assert separation(places, labels, centres) == pytest.approx(1)


def test_edge_cases_are_named_only_where_most_texts_have_like_ones():
    similarity = np.full((60, 60), 0.6, np.float32)
    similarity[:2] = similarity[:, :2] = 0.05
    np.fill_diagonal(similarity, 1)
    assert edge_cases(similarity).tolist() == [0, 1]
    assert edge_cases(np.eye(60, dtype=np.float32)).tolist() == []


def test_texts_without_common_words_and_few_texts_have_no_groups():
    assert cluster_texts(["alpha", "beta", "gamma", "delta", "epsilon"]).groups == ()
    assert cluster_texts([]).groups == ()


def test_scripts_without_spaces_are_compared_by_pairs_of_signs():
    _, terms = term_weights(["解释机器", "机器学习", "学习 Python", "python 解释", "x", "y", "z", "w"])
    assert terms == ["python", "学习", "机器", "解释"]
