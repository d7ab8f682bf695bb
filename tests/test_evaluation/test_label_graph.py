"""The graph of a toy grammar that is known, and a count by loops."""

import numpy as np
import pytest

from morn_plugin.evaluation.label_graph import (
    build_label_graph,
    choose_edges,
    describe_structure,
    list_transitions,
    structure_share,
)

# a is followed by b (0.8) or c (0.2), b by a, c by c or d (0.5 each), d by b.
GRAMMAR = np.array([[0, 0.8, 0.2, 0], [1, 0, 0, 0], [0, 0, 0.5, 0.5], [0, 1, 0, 0]])


def speak(number, steps, seed=0):
    rng = np.random.default_rng(seed)
    paths = np.zeros((number, steps), dtype=np.int64)
    paths[:, 0] = rng.integers(0, 4, number)
    for n in range(number):
        for t in range(1, steps):
            paths[n, t] = rng.choice(4, p=GRAMMAR[paths[n, t - 1]])
    return paths


def naive_graph(paths, targets):
    classes = range(targets.shape[1])
    count = [
        [
            sum(row[t - 1] == a and row[t] == b for row in paths for t in range(1, len(row)))
            for b in classes
        ]
        for a in classes
    ]
    shared = [
        [sum(row[a] > 0 and row[b] > 0 for row in targets) if a != b else 0 for b in classes]
        for a in classes
    ]
    return count, shared


def test_finds_the_grammar():
    targets = np.ones((5, 4), dtype=np.int8)
    graph = build_label_graph(speak(3000, 6), targets)
    np.testing.assert_allclose(graph.probability, GRAMMAR, atol=0.03)
    assert (graph.count[GRAMMAR == 0] == 0).all()
    np.testing.assert_allclose(graph.expected, (1 - np.eye(4)) / 3)
    assert graph.lift[0, 1] == pytest.approx(0.8 * 3, abs=0.1)
    assert graph.lift[2, 2] == np.inf
    assert structure_share(graph) > 0.4


def test_agrees_with_loops():
    paths = speak(20, 5, seed=1)
    rng = np.random.default_rng(1)
    targets = rng.integers(-1, 2, (30, 4)).astype(np.int8)
    graph = build_label_graph(paths, targets)
    count, shared = naive_graph(paths, targets)
    assert graph.count.tolist() == count

    for a in range(4):
        for b in range(4):
            p = count[a][b] / sum(count[a])
            q = shared[a][b] / sum(shared[a])
            assert graph.probability[a, b] == pytest.approx(p)
            assert graph.expected[a, b] == pytest.approx(q)
            assert q == 0 or graph.lift[a, b] == pytest.approx(p / q)


def test_a_path_that_has_ended_goes_nowhere():
    rng = np.random.default_rng(3)
    paths = speak(50, 5, seed=3)
    targets = rng.integers(0, 2, (30, 4)).astype(np.int8)
    paths[np.arange(5) >= rng.integers(0, 6, (50, 1))] = -1
    count, _ = naive_graph(paths, targets)
    assert build_label_graph(paths, targets).count.tolist() == count
    cut = [row[row >= 0] for row in paths]
    assert sum(map(sum, count)) == sum(max(len(row) - 1, 0) for row in cut)


def test_paths_drawn_from_co_occurrence_have_no_structure():
    rng = np.random.default_rng(2)
    targets = (rng.random((200, 4)) < [0.7, 0.5, 0.4, 0.3]).astype(np.int8)
    expected = build_label_graph(np.array([[0, 1]]), targets).expected
    first = rng.integers(0, 4, 20000)
    paths = np.stack([first, [rng.choice(4, p=expected[label]) for label in first]], axis=1)
    graph = build_label_graph(paths, targets)
    assert structure_share(graph) < 0.02
    np.testing.assert_allclose(graph.lift[expected > 0], 1, atol=0.1)


def test_without_co_occurrence_there_is_no_share():
    """Each training image has one label, so that nothing is expected to follow anything."""
    graph = build_label_graph(np.array([[0, 1], [1, 2]]), np.eye(3, dtype=np.int8))
    assert structure_share(graph) is None
    assert 'nan' not in describe_structure(graph)
    assert describe_structure(build_label_graph(np.array([[0, 1]]), np.array([[1, 1]]))).startswith(
        '0 %'
    )


def test_unknown_rows_are_nan_and_bad_paths_refused():
    graph = build_label_graph(np.array([[0, 1]]), np.array([[1, 1, 0]]))
    assert np.isnan(graph.probability[2]).all()
    assert np.isnan(graph.expected[2]).all()
    assert structure_share(graph) == 0
    with pytest.raises(ValueError, match=r'labels in 0\.\.2'):
        build_label_graph(np.array([[0, 3]]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r'labels in 0\.\.2'):
        build_label_graph(np.array([[0, -2]]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r'each of the 2 ended before'):
        build_label_graph(np.array([[0, -1], [-1, -1]]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match='at least 2 steps'):
        build_label_graph(np.array([[0], [1]]), np.zeros((1, 3)))


def test_transitions_are_listed_the_most_frequent_first():
    paths = np.array([[0, 1, 0], [0, 1, 2], [0, 1, 1]])
    targets = np.array([[1, 1, 0], [1, 0, 1]])
    graph = build_label_graph(paths, targets)
    rows = list_transitions(graph, ['a', 'b', 'c'], min_count=1)
    assert [(row['label'], row['next'], row['count']) for row in rows] == [
        ('a', 'b', 3),
        ('b', 'a', 1),
        ('b', 'b', 1),
        ('b', 'c', 1),
    ]
    first, _, itself, never = rows
    assert (first['probability'], first['expected'], first['lift']) == (1.0, 0.5, 2.0)
    assert itself['expected'] == 0
    assert (never['expected'], never['lift']) == (0.0, None)  # never together in training
    assert list_transitions(graph, ['a', 'b', 'c'], min_count=2) == rows[:1]


def test_edges_are_those_that_co_occurrence_does_not_explain():
    def row(label, following, count, probability, expected):
        return dict(
            label=label, next=following, count=count, probability=probability, expected=expected
        )

    itself = row('a', 'a', 90, 0.9, 0.0)
    explained = row('a', 'b', 50, 0.5, 0.6)
    weak = row('b', 'c', 10, 0.5, 0.25)
    strong = row('c', 'a', 10, 0.5, None)
    rows = [itself, explained, weak, strong]
    assert choose_edges(rows, 4) == [strong, weak]
    assert choose_edges(rows, 1) == [strong]
