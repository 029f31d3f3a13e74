import numpy as np
import pytest
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed, reranking

NAMES = ("reciprocal_sets", "jaccard_distance", "mean_ranks")


@pytest.mark.parametrize("name", NAMES)
def test_solutions_of_the_notebook_are_right_and_their_stubs_unwritten(name, capsys):
    check = getattr(reranking, name)
    check(solution("07", name))
    assert f"✓ {name}: all" in capsys.readouterr().out
    with pytest.raises(CheckFailed, match="not written yet"):
        check(stub("07", name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda *arguments: 1 / 0, "crashed with ZeroDivisionError"),
        (lambda *arguments: None, "Did you forget `return`"),
    ],
)
def test_what_is_no_answer_is_told_so(name, answer, phrase):
    with pytest.raises(CheckFailed, match=phrase):
        getattr(reranking, name)(answer)


def rows(index):
    return [row.tolist() for row in index]


def mutual(index):
    near = rows(index)
    return [{q for q in row if p in near[q]} for p, row in enumerate(near)]


def has_me(index):
    near = rows(index)
    return [{q for q, row in enumerate(near) if p in row} for p in range(len(near))]


@pytest.mark.parametrize(
    "answer",
    [
        lambda index: [a & set(b) for a, b in zip(has_me(index), rows(index), strict=True)],
        lambda index: [sorted(members) for members in mutual(index)],
        lambda index: [np.array(sorted(members)) for members in mutual(index)],
        lambda index: [[np.int64(q) for q in members] for members in mutual(index)],
    ],
)
def test_sets_in_any_order_and_form_are_right(answer):
    reranking.reciprocal_sets(answer)


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda i: [set(row) for row in rows(i)], "keep only those that have the item near, too"),
        (has_me, "must be among p's own neighbours as well"),
        (
            lambda i: [a | set(b) for a, b in zip(has_me(i), rows(i), strict=True)],
            "both must be near each other",
        ),
        (lambda i: [m - {p} for p, m in enumerate(mutual(i))], "The item itself is missing"),
        (lambda i: mutual(i[:, :-1]), "k neighbours need k + 1 columns"),
        (
            lambda i: [{q for q in row if p in rows(i)[q][:-1]} for p, row in enumerate(rows(i))],
            "The last column of q's row",
        ),
        (
            lambda i: [
                {q for place, q in enumerate(row) if rows(i)[q][place] == p}
                for p, row in enumerate(rows(i))
            ],
            "anywhere in it will do",
        ),
        (lambda i: [{0} for _ in i], "keep q if p is in row q"),
        (lambda i: mutual(i)[1:], "Every item has a set"),
        (lambda i: 3, "Return a list with one set an item"),
        (lambda i: [{-1} for _ in i], "numbers that are no items"),
        (lambda i: [{99} for _ in i], "numbers that are no items"),
    ],
)
def test_wrong_sets_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ reciprocal_sets") as failure:
        reranking.reciprocal_sets(answer)
    assert phrase in str(failure.value)


def test_a_wrong_set_is_shown_beside_the_right_one():
    with pytest.raises(CheckFailed, match=r"four items, k=2, row 0: got \{0\}, right is \{0, 1\}"):
        reranking.reciprocal_sets(lambda i: [{p} for p in range(len(i))])


def m(p, g):
    return np.minimum(p, g).sum()


def larger(p, g):
    return np.maximum(p, g).sum()


@pytest.mark.parametrize(
    "answer",
    [
        lambda p, g: 1 - m(p, g) / (2 - m(p, g)),
        lambda p, g: 1 - sum(map(min, p, g)) / sum(map(max, p, g)),
        lambda p, g: abs(p - g).sum() / larger(p, g),
    ],
)
def test_right_jaccard_distances(answer):
    reranking.jaccard_distance(answer)


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda p, g: 1 - m(p, g) / 2, "You divide by 2"),
        (lambda p, g: m(p, g) / larger(p, g), "That is the similarity"),
        (lambda p, g: 1 - m(p, g), "The sum of the larger weights is missing"),
        (m, "only the sum of the smaller weights"),
        (
            lambda p, g: 1 - ((p > 0) & (g > 0)).sum() / ((p > 0) | (g > 0)).sum(),
            "as members of plain sets",
        ),
        (
            lambda p, g: 1 - m(p, g) / (larger(p[(p > 0) & (g > 0)], g[(p > 0) & (g > 0)]) or 1),
            "A neighbour that only one of them has",
        ),
        (lambda p, g: 1 - p @ g / np.linalg.norm(p) / np.linalg.norm(g), "That is a cosine"),
        (lambda p, g: 0.5, "Write both sums down"),
        (np.minimum, "instead of one number"),
    ],
)
def test_wrong_jaccard_distances_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ jaccard_distance") as failure:
        reranking.jaccard_distance(answer)
    assert phrase in str(failure.value)


def places(scores, axis=-1):
    return (-scores).argsort(axis=axis).argsort(axis=axis) + 1


def test_right_mean_ranks_in_another_way():
    def counted(scores):
        return (scores[:, :, None, :] >= scores[:, :, :, None]).sum(axis=3).mean(axis=0)

    reranking.mean_ranks(counted)
    reranking.mean_ranks(lambda scores: places(scores).mean(axis=0).tolist())


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda s: places(s).mean(axis=0) - 1, "place 1, not 0"),
        (lambda s: places(-s).mean(axis=0), "yours gets the last place"),
        (lambda s: s.argsort(axis=2).argsort(axis=2).mean(axis=0), "and has place 1"),
        (lambda s: places(s).sum(axis=0), "divide by the models"),
        (lambda s: ((-s).argsort(axis=2) + 1).mean(axis=0), "sort the order once more"),
        (lambda s: (-s).argsort(axis=2).mean(axis=0), "sort the order once more"),
        (lambda s: places(s, axis=1).mean(axis=0), "its own answers"),
        (lambda s: places(s.mean(axis=0)), "average scores and rank once"),
        (lambda s: s.mean(axis=0), "the mean of the scores"),
        (lambda s: np.median(places(s), axis=0), "take the mean"),
        (lambda s: np.ones(s.shape[1:]), "which place does its largest score have"),
        (lambda s: places(s).mean(axis=1), "average over the models"),
    ],
)
def test_wrong_mean_ranks_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ mean_ranks") as failure:
        reranking.mean_ranks(answer)
    assert phrase in str(failure.value)
