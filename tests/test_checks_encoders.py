import pytest
import torch
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed, encoders

from xmr_lib.encoders import image, text
from xmr_lib.encoders.backbone import pool_stages
from xmr_lib.similarity import l2norm


def max_pools(maps):
    return [m.amax((2, 3)) for m in maps]


def c4_average(maps):
    return maps[3].mean((2, 3))


def unwritten(*arguments):
    raise NotImplementedError


def crashing(*arguments):
    raise ZeroDivisionError("oops")


CHECKS = (encoders.rich_image_features, encoders.pool_words, encoders.rich_text_features)


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


@pytest.mark.parametrize(
    ("notebook", "name"),
    [("03", "rich_image_features"), ("04", "pool_words"), ("04", "rich_text_features")],
)
def test_solutions_of_the_notebooks_are_right_and_their_stubs_unwritten(notebook, name):
    check = getattr(encoders, name)
    check(solution(notebook, name))
    with pytest.raises(CheckFailed, match="not written yet"):
        check(stub(notebook, name))


def test_equation_2_right_answers(capsys):
    def pooled_first(maps):
        dims = [m.shape[1] for m in maps]
        return image.rich_image_features(pool_stages(maps), dims)

    def step_by_step(maps):
        rows = []
        for i in range(len(maps[0])):
            numbers = [float(channel.max()) for m in maps for channel in m[i]]
            numbers += [float(channel.mean()) for channel in maps[3][i]]
            length = sum(x * x for x in numbers) ** 0.5
            rows.append([x / length for x in numbers])
        return torch.tensor(rows)

    for answer in (pooled_first, step_by_step):
        encoders.rich_image_features(answer)
    assert capsys.readouterr().out.count("✓ rich_image_features") == 2


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda m: torch.cat([*max_pools(m), c4_average(m)], 1), "not normalised"),
        (lambda m: l2norm(torch.cat([*max_pools(m), c4_average(m)], 1), dim=0), "dim=1"),
        (lambda m: l2norm(torch.cat(max_pools(m), 1)), "Average-pooled C4 is missing"),
        (lambda m: l2norm(torch.cat([c4_average(m), *max_pools(m)], 1)), "comes last"),
        (
            lambda m: torch.cat([l2norm(p) for p in (*max_pools(m), c4_average(m))], 1),
            "joins first and normalises once",
        ),
        (
            lambda m: l2norm(torch.cat([*(x.mean((2, 3)) for x in m), c4_average(m)], 1)),
            "eq. 2 takes their maximum",
        ),
        (
            lambda m: l2norm(torch.cat([*max_pools(m), max_pools(m)[3]], 1)),
            "C4's maximum stands there twice",
        ),
        (
            lambda m: l2norm(
                torch.cat([*(x.amax((2, 3), keepdim=True) for x in m), m[3].mean((2, 3), True)], 1),
                dim=1,
            ),
            "Only dimensions of size 1 differ",
        ),
    ],
)
def test_equation_2_wrong_answers_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ rich_image_features") as failure:
        encoders.rich_image_features(answer)
    assert phrase in str(failure.value)


def test_masked_average_right_answers(capsys):
    def loop(words, mask):
        return torch.stack([w[m].mean(0) for w, m in zip(words, mask, strict=True)])

    def where(words, mask):
        clean = torch.where(mask[..., None], words, torch.zeros(()))
        return clean.sum(1) / mask.sum(1, keepdim=True)

    for answer in (loop, where, text.pool_words):
        encoders.pool_words(answer)
    assert capsys.readouterr().out.count("all 4 checks passed") == 3


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda w, m: w.mean(1), "Padding is counted"),
        (lambda w, m: (w * m[..., None]).mean(1), "still counted when dividing"),
        (lambda w, m: (w * m[..., None]).sum(1), "sum of the words"),
        (lambda w, m: (w * m[..., None]).sum(1) / m.sum(1, keepdim=True), "0 · nan is nan"),
        (lambda w, m: text.pool_words(w, m, "max"), "max pooling"),
        (lambda w, m: (w * m[..., None]).sum(1) / m.sum(), "has its own"),
        (lambda w, m: (w * m[..., None]).mean(2), "dim=2"),
    ],
)
def test_masked_average_wrong_answers_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ pool_words") as failure:
        encoders.pool_words(answer)
    assert phrase in str(failure.value)


def test_equation_6_right_answers(capsys):
    def summed(final, words):
        return torch.cat([l2norm(final.sum(0)), l2norm(words)], dim=1)

    def averaged(final, words):  # the same after the norm
        return torch.cat([l2norm(final.mean(0)), l2norm(words)], dim=1)

    for answer in (summed, averaged):
        encoders.rich_text_features(answer)
    assert capsys.readouterr().out.count("✓ rich_text_features") == 2


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda f, w: torch.cat([f.sum(0), w], 1), "Nothing is normalised"),
        (lambda f, w: l2norm(torch.cat([f.sum(0), w], 1)), "norm='after'"),
        (lambda f, w: torch.cat([l2norm(f[0]), l2norm(w)], 1), "add the backward one"),
        (lambda f, w: torch.cat([l2norm(f[1]), l2norm(w)], 1), "add the forward one"),
        (lambda f, w: torch.cat([l2norm(torch.cat([*f], 1)), l2norm(w)], 1), "adds them"),
        (lambda f, w: torch.cat([l2norm(l2norm(f).sum(0)), l2norm(w)], 1), "adds first"),
        (lambda f, w: torch.cat([l2norm(w), l2norm(f.sum(0))], 1), "words come second"),
        (lambda f, w: torch.cat([l2norm(f.sum(0)), w], 1), "the words are not"),
        (lambda f, w: torch.cat([l2norm(f.sum(0), 0), l2norm(w, 0)], 1), "dim=1"),
        (lambda f, w: torch.full((w.shape[0], f.shape[2] + w.shape[1]), torch.nan), "not-a-number"),
    ],
)
def test_equation_6_wrong_answers_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ rich_text_features") as failure:
        encoders.rich_text_features(answer)
    assert phrase in str(failure.value)
