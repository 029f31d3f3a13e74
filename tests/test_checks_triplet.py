"""Checks of notebook 02 accept right solutions and tell typical wrong ones what is wrong."""

from __future__ import annotations

import pytest
import torch
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed, triplet

from xmr_lib.losses import triplet_loss

INF = float("inf")


def library(scores, margin):
    return tuple(triplet_loss(scores, margin).values())


def library_masked(scores, images, margin):
    same_image = images[:, None] == images[None, :]
    return tuple(triplet_loss(scores, margin, same_image=same_image).values())


def hinges(scores, margin, mask=None, fill=-INF):
    mask = torch.eye(len(scores), dtype=torch.bool) if mask is None else mask
    wrong = scores.masked_fill(mask, fill)
    right = scores.diag()
    return margin - right[:, None] + wrong, margin - right + wrong


def plain(scores, margin):
    rows, columns = hinges(scores, margin)
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


def masked(scores, images, margin):
    rows, columns = hinges(scores, margin, images[:, None] == images)
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


@pytest.mark.parametrize("function", [plain, library])
def test_loss_accepts_right_solutions(function, capsys):
    triplet.hardest_triplet_loss(function)
    assert "✓ hardest_triplet_loss: all" in capsys.readouterr().out


@pytest.mark.parametrize("function", [masked, library_masked])
def test_masked_loss_accepts_right_solutions(function, capsys):
    triplet.masked_triplet_loss(function)
    assert "✓ masked_triplet_loss: all" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["hardest_triplet_loss", "masked_triplet_loss"])
def test_notebooks_solutions_pass_and_their_stubs_are_open(name):
    check = getattr(triplet, name)
    check(solution("02", name))
    with pytest.raises(CheckFailed, match="not written yet"):
        check(stub("02", name))


def without_mask(scores, margin):
    nothing = torch.zeros(len(scores), len(scores), dtype=torch.bool)
    rows, columns = hinges(scores, margin, nothing)
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


def zero_on_diagonal(scores, margin):
    rows, columns = hinges(scores, margin, fill=0.0)
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


def all_negatives(scores, margin):
    rows, columns = hinges(scores, margin)
    return rows.clamp(min=0).sum(), columns.clamp(min=0).sum()


def not_clamped(scores, margin):
    rows, columns = hinges(scores, margin)
    return rows.amax(1).sum(), columns.amax(0).sum()


def easiest(scores, margin):
    rows, columns = hinges(scores, margin, fill=INF)
    return rows.amin(1).clamp(min=0).sum(), columns.amin(0).clamp(min=0).sum()


def distance_signs(scores, margin):
    rows, columns = (2 * margin - h for h in hinges(scores, margin, fill=INF))
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


def wrong_positive(scores, margin):
    columns, rows = hinges(scores, margin)
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


def hardest_of_the_batch(scores, margin):
    rows, columns = hinges(scores, margin)
    return rows.max().clamp(min=0), columns.max().clamp(min=0)


def in_place(scores, margin):
    result = plain(scores, margin)
    scores.fill_diagonal_(-INF)
    return result


@pytest.mark.parametrize(
    ("wrong", "phrase"),
    [
        (without_mask, "leave the diagonal out"),
        (zero_on_diagonal, "fill with -inf"),
        (all_negatives, "only the hardest one"),
        (not_clamped, "clamp"),
        (easiest, "easiest negative"),
        (distance_signs, "behaves like a similarity"),
        (wrong_positive, "the anchor's own"),
        (hardest_of_the_batch, "hardest of the whole batch"),
        (in_place, "in place"),
        (lambda s, m: plain(s, m)[::-1], "swapped"),
        (lambda s, m: tuple(part / len(s) for part in plain(s, m)), "right mean"),
        (lambda s, m: sum(plain(s, m)), "two values"),
        (lambda s, m: tuple(h.amax(1) for h in hinges(s, m)), "must be one number"),
        (lambda s, m: tuple(part.item() for part in plain(s, m)), "no gradient"),
        (lambda s, m: tuple(part * 0.5 for part in plain(s, m)), "by hand"),
        (lambda s, m: s @ torch.ones(99), "crashed with RuntimeError"),
        (lambda s, m: None, "forget `return`"),
    ],
)
def test_loss_explains_wrong_solutions(wrong, phrase):
    with pytest.raises(CheckFailed, match=phrase):
        triplet.hardest_triplet_loss(wrong)


def drops_twins(scores, images, margin):
    first = [i for i in range(len(images)) if images[i] not in images[:i]]
    return plain(scores[first][:, first], margin)


def masks_with_zero(scores, images, margin):
    rows, columns = hinges(scores, margin, images[:, None] == images, fill=0.0)
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


def masks_twins_only(scores, images, margin):
    twins = (images[:, None] == images) & ~torch.eye(len(images), dtype=torch.bool)
    rows, columns = hinges(scores, margin, twins)
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


def masks_the_others(scores, images, margin):
    others = (images[:, None] != images) | torch.eye(len(images), dtype=torch.bool)
    rows, columns = hinges(scores, margin, others)
    return rows.amax(1).clamp(min=0).sum(), columns.amax(0).clamp(min=0).sum()


@pytest.mark.parametrize(
    ("wrong", "phrase"),
    [
        (lambda s, i, m: plain(s, m), "still serves as a negative"),
        (drops_twins, "all pairs as anchors"),
        (masks_with_zero, "fill with -inf"),
        (masks_twins_only, "same as itself"),
        (masks_the_others, "wrong way round"),
        (lambda s, i, m: masked(s, i, m)[::-1], "swapped"),
        (lambda s, i, m: tuple(p / len(s) for p in masked(s, i, m)), "right mean"),
        (lambda s, i, m: tuple(p.detach() for p in masked(s, i, m)), "no gradient"),
    ],
)
def test_masked_loss_explains_wrong_solutions(wrong, phrase):
    with pytest.raises(CheckFailed, match=phrase):
        triplet.masked_triplet_loss(wrong)
