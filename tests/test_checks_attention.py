import pytest
import torch
from notebook_solutions import solution, stub
from torch.nn.functional import leaky_relu, normalize
from xmr_course.checks import CheckFailed, attention

from xmr_lib.cross_attention import CrossAttention, pool_cosines
from xmr_lib.cross_attention import attended_cosines as library_cosines
from xmr_lib.cross_attention import attention_weights as library_weights

CHECKS = (attention.attention_weights, attention.attended_cosines, attention.log_sum_exp)
NAMES = tuple(check.__name__ for check in CHECKS)


def unwritten(*arguments):
    raise NotImplementedError


def crashing(*arguments):
    raise ZeroDivisionError("oops")


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (unwritten, "not written yet"),
        (crashing, "crashed with ZeroDivisionError: oops"),
        (lambda *arguments: None, "Did you forget `return`"),
        (lambda *arguments: "a string", "Return one tensor"),
        (lambda *arguments: torch.zeros(7, 7, 7), "the shape is (7, 7, 7)"),
    ],
)
def test_what_is_no_answer_is_told_so(check, answer, phrase):
    with pytest.raises(CheckFailed) as failure:
        check(answer)
    assert phrase in str(failure.value)


@pytest.mark.parametrize("name", NAMES)
def test_solutions_of_the_notebook_are_right_and_their_stubs_unwritten(name):
    check = getattr(attention, name)
    check(solution("08", name))
    with pytest.raises(CheckFailed, match="not written yet"):
        check(stub("08", name))


@pytest.mark.parametrize("check", CHECKS)
def test_a_nonsense_answer_gets_an_advice_and_a_place(check):
    with pytest.raises(CheckFailed, match=r"number \[.*should be") as failure:
        check(lambda first, *others: attention_like(check, first) + 17.5)
    assert "by hand" in str(failure.value)


def attention_like(check, first):
    return (
        first * 0 if check is attention.attention_weights else first.sum(-1 if _pools(check) else 0)
    )


def _pools(check):
    return check is attention.log_sum_exp


# --- attention ------------------------------------------------------------------------------------


def even(p, w, slope=0.1):
    clipped = leaky_relu(p, slope).masked_fill(~w[:, None], 0)
    return clipped / (clipped.norm(dim=2, keepdim=True) + 1e-8)


def share(logits, r):
    return logits.masked_fill(~r[:, :, None], float("-inf")).softmax(1)


def test_attention_right_answers(capsys):
    def one_pair_after_the_other(p, r, w, s):
        result = torch.zeros_like(p)
        for i in range(len(p)):
            real = leaky_relu(p[i][r[i]][:, w[i]], 0.1)
            weights = (s * real / real.norm(dim=1, keepdim=True)).softmax(0)
            for k, row in enumerate(r[i].nonzero()[:, 0]):
                result[i, row, w[i]] = weights[k]
        return result

    def by_the_library(p, r, w, s):
        how = CrossAttention("t-i", "AVG", s)
        pairs = [
            library_weights(
                each[None, :, :, None].masked_fill(~words[None, None, :, None], 0),
                how, ~real[None], ~words[:, None],
            )[0, :, :, 0]
            for each, real, words in zip(p, r, w, strict=True)
        ]  # fmt: skip
        return torch.stack(pairs)

    for answer in (
        one_pair_after_the_other,
        by_the_library,
        lambda p, r, w, s: share(s * even(p, w), r),
    ):
        attention.attention_weights(answer)
    assert capsys.readouterr().out.count("all 5 checks passed") == 3


def test_what_stands_in_columns_of_padding_does_not_matter():
    attention.attention_weights(
        lambda p, r, w, s: share(s * even(p, w), r).masked_fill(~w[:, None], 99.0)
    )


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda p, r, w, s: (s * even(p, w)).softmax(2), "The softmax runs over the words"),
        (
            lambda p, r, w, s: (s * even(p, w)).masked_fill(~w[:, None], -torch.inf).softmax(2),
            "The softmax runs over the words",
        ),
        (
            lambda p, r, w, s: share(s * normalize(leaky_relu(p, 0.1), dim=1), r),
            "The norm runs over the regions",
        ),
        (
            lambda p, r, w, s: share(
                s * normalize(leaky_relu(p, 0.1).masked_fill(~r[:, :, None], 0), dim=1), r
            ),
            "The norm runs over the regions",
        ),
        (
            lambda p, r, w, s: (s * normalize(leaky_relu(p, 0.1), dim=2)).softmax(1),
            "Neither mask is used",
        ),
        (lambda p, r, w, s: (s * even(p, w)).softmax(1), "Regions that are padding take a share"),
        (
            lambda p, r, w, s: (s * even(p, w)).masked_fill(~r[:, :, None], 0).softmax(1),
            "exp(0) is 1, not 0",
        ),
        (
            lambda p, r, w, s: (s * even(p, w)).softmax(1) * r[:, :, None],
            "no longer adds up to one",
        ),
        (
            lambda p, r, w, s: share(s * normalize(leaky_relu(p, 0.1), dim=2), r),
            "Words that are padding count in the norm",
        ),
        (lambda p, r, w, s: share(even(p, w), r), "λ1 is missing"),
        (lambda p, r, w, s: share(even(p, w) / s, r), "do not divide"),
        (lambda p, r, w, s: share(s * even(p, w, 1.0), r), "leaky ReLU is missing"),
        (lambda p, r, w, s: share(s * even(p, w, 0.0), r), "plain ReLU"),
        (lambda p, r, w, s: share(s * even(p, w, 0.01), r), "PyTorch's own default"),
        (lambda p, r, w, s: share(s * leaky_relu(even(p, w, 1.0), 0.1), r), "The order"),
        (lambda p, r, w, s: share(s * leaky_relu(p, 0.1), r), "The norm over the words is missing"),
        (
            lambda p, r, w, s: share(s * leaky_relu(p, 0.1) / even_squares(p, w), r),
            "The square root is missing",
        ),
        (
            lambda p, r, w, s: share(
                s * normalize(leaky_relu(p, 0.1).masked_fill(~w[:, None], 0), p=1, dim=2), r
            ),
            "(L1)",
        ),
    ],
)
def test_attention_wrong_answers_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ attention_weights") as failure:
        attention.attention_weights(answer)
    assert phrase in str(failure.value)


def even_squares(p, w):
    return leaky_relu(p, 0.1).masked_fill(~w[:, None], 0).square().sum(2, keepdim=True)


# --- attended cosines -----------------------------------------------------------------------------


def squares(a, g):
    return (a * (g @ a)).sum(0).clamp(min=0)


def test_cosines_right_answers(capsys):
    def loop(a, p, g, h):
        result = []
        for word in range(a.shape[1]):
            weights = a[:, word]
            length = (weights @ g @ weights).clamp(min=0).sqrt() * h[word, word].sqrt()
            result.append(weights @ p[:, word] / length if length > 1e-8 else torch.tensor(0.0))
        return torch.stack(result)

    def by_the_library(a, p, g, h):
        lengths = h.diagonal().sqrt()[:, None]
        return library_cosines(a[None, :, :, None], p[None, :, :, None], g[None], lengths)[0, :, 0]

    for answer in (loop, by_the_library):
        attention.attended_cosines(answer)
    assert capsys.readouterr().out.count("all 5 checks passed") == 2


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda a, p, g, h: (a * p).sum(0) / (squares(a, g) * h.diagonal().sqrt()), "square root"),
        (lambda a, p, g, h: (a * p).sum(0) / (squares(a, g) * h.diagonal()), "Both square roots"),
        (
            lambda a, p, g, h: (a * p).sum(0) / (squares(a, g).sqrt() * h.diagonal()),
            "holds *squared* lengths",
        ),
        (lambda a, p, g, h: (a * p).sum(0) / squares(a, g).sqrt(), "The word's own length"),
        (lambda a, p, g, h: (a * p).sum(0) / h.diagonal().sqrt(), "attended vector's length"),
        (lambda a, p, g, h: (a * p).sum(0), "divide by both lengths"),
        (
            lambda a, p, g, h: (a * p).sum(0) / (squares(a, h) * h.diagonal()).sqrt(),
            "Gram matrix of the wrong side",
        ),
        (
            lambda a, p, g, h: (a * p).sum(1) / (squares(a.T, h) * g.diagonal()).sqrt(),
            "direction i-t",
        ),
        (
            lambda a, p, g, h: (a * p).sum(0) / (a.square().T @ g.diagonal() * h.diagonal()).sqrt(),
            "Only the diagonal",
        ),
        (
            lambda a, p, g, h: p.sum(0) / (squares(a, g) * h.diagonal()).sqrt(),
            "weights are missing above the line",
        ),
        (
            lambda a, p, g, h: (a * p).sum(0) / (squares(a, g) * h.diagonal()).sqrt(),
            "0 / 0 is nan",
        ),
    ],
)
def test_cosines_wrong_answers_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ attended_cosines") as failure:
        attention.attended_cosines(answer)
    assert phrase in str(failure.value)


# --- pooling --------------------------------------------------------------------------------------


def padded(c, w):
    return c.masked_fill(~w, -torch.inf)


def test_pooling_right_answers(capsys):
    def loop(c, w, s):
        return torch.stack([(s * row[m]).logsumexp(0) / s for row, m in zip(c, w, strict=True)])

    def by_the_library(c, w, s):
        return pool_cosines(c.T[None], "LSE", s, ~w.T)[0]

    def largest_first(c, w, s):
        top = padded(c, w).amax(1)
        return top + (s * (padded(c, w) - top[:, None])).exp().sum(1).log() / s

    for answer in (loop, by_the_library, largest_first):
        attention.log_sum_exp(answer)
    assert capsys.readouterr().out.count("all 5 checks passed") == 3


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda c, w, s: (s * c).logsumexp(1) / s, "Padding is counted"),
        (lambda c, w, s: (s * c * w).logsumexp(1) / s, "exp(0) is 1, not 0"),
        (lambda c, w, s: (s * padded(c, w)).logsumexp(1), "division by λ2"),
        (lambda c, w, s: padded(c, w).logsumexp(1) / s, "missing in the exponent"),
        (lambda c, w, s: padded(c, w).logsumexp(1), "λ2 is missing"),
        (
            lambda c, w, s: ((s * padded(c, w)).exp().sum(1) / w.sum(1)).log() / s,
            "log of the *mean*",
        ),
        (lambda c, w, s: (s * padded(c, w)).exp().sum(1) / s, "logarithm is missing"),
        (lambda c, w, s: padded(c, w).amax(1), "This is the maximum"),
        (lambda c, w, s: (c * w).sum(1) / w.sum(1), "This is the mean"),
        (lambda c, w, s: (s * padded(c, ~w)).logsumexp(1) / s, "upside down"),
        (lambda c, w, s: (s * padded(c, w)).logsumexp(0) / s, "dim=0"),
        (lambda c, w, s: (s * padded(c, w)).exp().sum(1).log() / s, "too large for float32"),
    ],
)
def test_pooling_wrong_answers_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ log_sum_exp") as failure:
        attention.log_sum_exp(answer)
    assert phrase in str(failure.value)
