"""Checks of notebook 01 accept right solutions and tell typical wrong ones what is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed, metrics

from xmr_lib.evaluation import Ranks, evaluate_scores


def library_recall(scores, image_of_caption, k):
    result = evaluate_scores(scores, image_of_caption)
    return 100 * result.i2t.recall_at_k(k).mean(), 100 * result.t2i.recall_at_k(k).mean()


def recall(scores, owner, k, *, of_five=False, slack=0, every=any, order=-1):
    """A right solution, and by its options wrong ones."""
    owner = np.arange(len(owner)) // 5 if of_five else owner
    ranks = np.argsort(np.argsort(order * scores, axis=1), axis=1)
    back = np.argsort(np.argsort(order * scores, axis=0), axis=0)
    i2t = [every(ranks[i, owner == i] < k + slack) for i in range(len(scores))]
    t2i = [back[owner[c], c] < k + slack for c in range(len(owner))]
    return 100 * np.mean(i2t), 100 * np.mean(t2i)


def library_ties(scores, right, k):
    best = scores[right].max()
    wrong = scores[~right]
    counts = ((wrong > best).sum(), (wrong == best).sum(), (scores[right] == best).sum())
    return Ranks(*(np.array([count]) for count in counts)).recall_at_k(k)[0]


def ties(scores, right, k):
    best = scores[right].max()
    greater, hits = (scores > best).sum(), (scores[right] == best).sum()
    tied = (scores == best).sum()
    places = min(max(k - greater, 0), tied)
    return 1 - math.comb(tied - hits, places) / math.comb(tied, places)


def counted(scores, right):
    best = scores[right].max()
    return (scores > best).sum(), (scores[~right] == best).sum(), (scores[right] == best).sum()


def rank(scores, right):
    return 1 + (scores > scores[right].max()).sum()


def test_rank_accepts_right_solutions_and_the_stub_is_open(capsys):
    metrics.best_rank(rank)
    metrics.best_rank(lambda s, r: np.flatnonzero(r[np.argsort(-s)])[0] + 1)
    metrics.best_rank(solution("00", "best_rank"))
    assert capsys.readouterr().out.count("✓ best_rank: all") == 3
    with pytest.raises(CheckFailed, match="not written yet"):
        metrics.best_rank(stub("00", "best_rank"))


@pytest.mark.parametrize(
    ("wrong", "phrase"),
    [
        (lambda s, r: rank(s, r) - 1, "The top is 1"),
        (lambda s, r: rank(-s, r), "larger scores come first"),
        (lambda s, r: 1 + (s > s[r].min()).sum(), "worst"),
        (lambda s, r: 1 + np.argsort(-s)[r].min(), "argsort says which item"),
        (lambda s, r: np.argsort(-s), "instead of one number"),
        (lambda s, r: 1, "How many items score higher"),
    ],
)
def test_rank_explains_wrong_solutions(wrong, phrase):
    with pytest.raises(CheckFailed, match=phrase):
        metrics.best_rank(wrong)


@pytest.mark.parametrize("function", [recall, library_recall])
def test_recall_accepts_right_solutions(function, capsys):
    metrics.recall_at_k(function)
    assert "✓ recall_at_k: all" in capsys.readouterr().out


def test_recall_accepts_the_notebooks_solution_and_its_stub_is_open():
    metrics.recall_at_k(solution("01", "recall_at_k"))
    with pytest.raises(CheckFailed, match="not written yet"):
        metrics.recall_at_k(stub("01", "recall_at_k"))


@pytest.mark.parametrize(
    ("wrong", "phrase"),
    [
        (lambda s, o, k: recall(s, o, k, of_five=True), "five captions an image for granted"),
        (lambda s, o, k: recall(s, o, k, slack=1), "one place too far"),
        (lambda s, o, k: recall(s, o, k, slack=-1), "one place too early"),
        (lambda s, o, k: recall(s, o, k, every=all), "need not be found"),
        (lambda s, o, k: recall(s, o, k, every=np.mean), "you take the share"),
        (lambda s, o, k: recall(s, o, k, every=lambda x: x[0]), "not only its first"),
        (lambda s, o, k: recall(s, o, k, order=1), "Sort -scores"),
        (lambda s, o, k: recall(s, o, k)[::-1], "swapped"),
        (lambda s, o, k: np.array(recall(s, o, k)) / 100, "percent"),
        (lambda s, o, k: sum(recall(s, o, k)), "instead of two numbers"),
        (lambda s, o, k: (50.0, 50.0), "by hand"),
        (lambda s, o, k: s[99], "crashed with IndexError"),
        (lambda s, o, k: None, "forget `return`"),
    ],
)
def test_recall_explains_wrong_solutions(wrong, phrase):
    with pytest.raises(CheckFailed, match=phrase):
        metrics.recall_at_k(wrong)


@pytest.mark.parametrize("function", [ties, library_ties])
def test_ties_accepts_right_solutions(function, capsys):
    metrics.recall_under_ties(function)
    assert "✓ recall_under_ties: all" in capsys.readouterr().out


def test_ties_accepts_the_notebooks_solution_and_its_stub_is_open():
    metrics.recall_under_ties(solution("01", "recall_under_ties"))
    with pytest.raises(CheckFailed, match="not written yet"):
        metrics.recall_under_ties(stub("01", "recall_under_ties"))


def optimist(scores, right, k):
    return float(counted(scores, right)[0] < k)


def pessimist(scores, right, k):
    greater, tied, _ = counted(scores, right)
    return float(greater + tied < k)


def by_position(scores, right, k):
    return float(right[np.argsort(-scores, kind="stable")[:k]].any())


def mean_rank(scores, right, k):
    greater, tied, hits = counted(scores, right)
    return float(greater + tied / (hits + 1) < k)


def one_hit_only(scores, right, k):
    greater, tied, _ = counted(scores, right)
    return min(max(k - greater, 0) / (tied + 1), 1)


def number_of_hits(scores, right, k):
    greater, tied, hits = counted(scores, right)
    return min(max(k - greater, 0) * hits / (tied + hits), 1)


@pytest.mark.parametrize(
    ("wrong", "phrase"),
    [
        (optimist, "win every tie"),
        (pessimist, "lose every tie"),
        (by_position, "order of the file"),
        (mean_rank, "how often"),
        (one_hit_only, "not only one"),
        (number_of_hits, "two at once count once"),
        (lambda s, r, k: 100 * ties(s, r, k), "no percent"),
        (lambda s, r, k: (ties(s, r, k), 0.0), "instead of one number"),
        (lambda s, r, k: 0.123, "every order"),
        (lambda s, r, k: s.no_such_thing, "crashed with AttributeError"),
    ],
)
def test_ties_explains_wrong_solutions(wrong, phrase):
    with pytest.raises(CheckFailed, match=phrase):
        metrics.recall_under_ties(wrong)


def test_solutions_cannot_damage_the_cases():
    """What a student's function does to its arguments must not change the verdict."""

    def greedy(scores, image_of_caption, k):
        result = recall(scores, image_of_caption, k)
        scores[:] = 0
        image_of_caption[:] = 0
        return result

    metrics.recall_at_k(greedy)
