"""Checks of notebooks 05 and 06 accept right solutions and explain typical wrong ones."""

from __future__ import annotations

import re

import numpy as np
import pytest
from notebook_solutions import solution, stub
from xmr_course.checks import CheckFailed, training

from xmr_lib import recipes


def verdict(check, function) -> str:
    with pytest.raises(CheckFailed) as failure:
        check(function)
    return str(failure.value)


# Learning rate -----------------------------------------------------------------------------------


def loop(epoch, start, every, factor):
    rate = start
    for over in range(1, epoch):
        if over % every == 0:
            rate = rate * factor
    return rate


@pytest.mark.parametrize(
    "right",
    [
        loop,
        lambda epoch, start, every, factor: np.float64(start) * factor ** ((epoch - 1) // every),
    ],
)
def test_right_rates(right, capsys):
    training.learning_rate(right)
    assert "✓ learning_rate: all 14 checks passed." in capsys.readouterr().out


def test_the_library_s_own_rate_passes():
    def library(epoch, start, every, factor):
        recipe = recipes.get("RFE", lr=start, lr_drop_every=every, lr_drop_factor=factor)
        return recipe.lr_at(epoch - 1)

    training.learning_rate(library)


@pytest.mark.parametrize(
    "wrong, said",
    [
        (lambda e, s, n, f: s * f ** (e // n), "One epoch too early"),
        (lambda e, s, n, f: s * f if e > n else s, "again and again"),
        (lambda e, s, n, f: s * f ** ((e - 1) / n), "in steps"),
        (lambda e, s, n, f: s / f ** ((e - 1) // n), "grows"),
        (lambda e, s, n, f: s * f * ((e - 1) // n), "power"),
        (lambda e, s, n, f: s * f ** (e - 1), "once in `every` epochs"),
        (lambda e, s, n, f: s, "How many times"),
        (lambda e, s, n, f: [s], "instead of one number"),
        (lambda e, s, n, f: None, "forget `return`"),
        (lambda e, s, n, f: 1 / 0, "crashed with ZeroDivisionError"),
    ],
)
def test_wrong_rates(wrong, said):
    assert said in verdict(training.learning_rate, wrong)


# A row's name ------------------------------------------------------------------------------------


def split_up(name):
    """By taking the name apart at its hyphens."""
    parts = name.split("-")
    place = next(i for i, part in enumerate(parts) if part.endswith("GRU"))
    image, text = parts[:place], parts[place + 1 :]
    stages = dict(zip(image[::2], image[1::2], strict=True))
    return {
        "avg": [int(digit) for digit in stages.get("avg", "")],
        "max": [int(digit) for digit in stages.get("max", "")],
        "rnn": parts[place],
        "emb": text[1] if text else None,
    }


def expression(name, emb=r"emb-(avg|max)", top=r"max-(\d+)", rnn=r"(BiGRU|GRU)", stage=int):
    """By regular expressions, with mistakes to be had."""
    found = {
        "avg": re.search(r"avg-(\d+)", name),
        "max": re.search(top, name),
        "rnn": re.search(rnn, name),
        "emb": re.search(emb, name),
    }
    text = {key: match and match[match.lastindex] for key, match in found.items()}
    for key in ("avg", "max"):
        text[key] = [stage(digit) for digit in text[key] or ""]
    return text


@pytest.mark.parametrize("right", [split_up, expression])
def test_right_parsers(right, capsys):
    training.parse_name(right)
    assert "✓ parse_name: all 12" in capsys.readouterr().out


def test_the_library_s_own_parser_passes():
    def library(name):
        recipe = recipes.get(name)
        return {
            "avg": recipe.avg_stages,
            "max": recipe.max_stages,
            "rnn": "BiGRU" if recipe.bidirectional else "GRU",
            "emb": recipe.word_pooling,
        }

    training.parse_name(library)


def changed(**changes):
    def parse(name):
        result = split_up(name)
        return result | {key: change(result[key], name) for key, change in changes.items()}

    return parse


@pytest.mark.parametrize(
    "wrong, said",
    [
        (changed(avg=lambda v, _: "".join(map(str, v))), "stages of their own"),
        (lambda name: expression(name, stage=str), "numbers, not text"),
        (changed(max=lambda v, _: v or None), "an empty list"),
        (changed(max=lambda v, name: [4] if "max" in name else v), "the max belongs to the words"),
        (changed(max=lambda v, _: v[:1]), "right behind this word"),
        (lambda name: expression(name, rnn="(GRU)"), "look for the longer one first"),
        (lambda name: expression(name, emb="(avg|max)"), "word embeddings stay out: None"),
        (changed(emb=lambda v, _: v and "avg"), "behind `emb-`"),
        (lambda name: list(split_up(name)), "Return a dictionary"),
        (lambda name: {"avg": []}, "Return a dictionary"),
        (lambda name: {}["x"], "crashed with KeyError"),
    ],
)
def test_wrong_parsers(wrong, said):
    assert said in verdict(training.parse_name, wrong)


# Paired bootstrap --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "right",
    [
        lambda a, b, draws: 100 * (a[draws].mean(axis=1) - b[draws].mean(axis=1)),
        lambda a, b, draws: [100 * (a[d] - b[d]).mean() for d in draws],
    ],
)
def test_right_bootstraps(right, capsys):
    training.paired_differences(right)
    assert "✓ paired_differences: all 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong, said",
    [
        (lambda a, b, draws: (a - b)[draws].mean(1), "times 100"),
        (lambda a, b, draws: 100 * (a - b)[draws].sum(1), "not a sum"),
        (lambda a, b, draws: 100 * (b - a)[draws].mean(1), "a minus b"),
        (lambda a, b, draws: 100 * abs(a[draws].mean(1) - b[draws].mean(1)), "Keep the sign"),
        (lambda a, b, draws: 100 * abs(a - b)[draws].mean(1), "count against a"),
        (lambda a, b, draws: 100 * (a[draws].mean(1) - b.mean()), "Only a was drawn"),
        (lambda a, b, draws: 100 * (a.mean() - b[draws].mean(1)), "Only b was drawn"),
        (
            lambda a, b, draws: 100 * (a[draws].mean(1) - b[np.roll(draws, 1, 0)].mean(1)),
            "the same row of `draws`",
        ),
        (
            lambda a, b, draws: np.full(len(draws), 100 * (a - b).mean()),
            "`draws` says which images",
        ),
        (lambda a, b, draws: 100 * (a - b)[draws].mean(0), "not over the sets"),
        (lambda a, b, draws: 100 * (a - b)[draws], "mean over its last axis"),
        (lambda a, b, draws: 100 * (a - b)[draws].mean(), "one number for each"),
        (lambda a, b, draws: a @ b @ draws, "crashed with"),
    ],
)
def test_wrong_bootstraps(wrong, said):
    assert said in verdict(training.paired_differences, wrong)


# In the notebooks --------------------------------------------------------------------------------

EXERCISES = [
    ("05", "learning_rate", training.learning_rate),
    ("06", "parse_name", training.parse_name),
    ("06", "paired_differences", training.paired_differences),
]


@pytest.mark.parametrize("notebook, name, check", EXERCISES)
def test_the_notebook_s_solution_passes_and_its_stub_does_not(notebook, name, check):
    check(solution(notebook, name))
    assert "is not written yet" in verdict(check, stub(notebook, name))
