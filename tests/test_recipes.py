"""Names of the papers' rows as recipes: the grammar, scales, schedules, and what is refused."""

from __future__ import annotations

import itertools
import json
from dataclasses import FrozenInstanceError, asdict

import numpy as np
import pytest
from made_data import STAGE_DIMS, make
from xmr_course.tables import paper

from xmr_lib import models, recipes, training
from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.recipes import Recipe

# What each printed name says (RFE §IV-D): average-pooled stages, max-pooled stages, biGRU or GRU,
# pooling of the word embeddings. Written out by hand, not by the parser.
PRINTED = {
    "avg-4-GRU-emb-avg": ((4,), (), False, "avg"),
    "avg-4-BiGRU": ((4,), (), True, None),
    "avg-4-BiGRU-emb-max": ((4,), (), True, "max"),
    "avg-4-BiGRU-emb-avg": ((4,), (), True, "avg"),
    "avg-1234-BiGRU-emb-avg": ((1, 2, 3, 4), (), True, "avg"),
    "avg-1234-max-1234-BiGRU-emb-avg": ((1, 2, 3, 4), (1, 2, 3, 4), True, "avg"),
    "avg-4-max-4-BiGRU-emb-avg": ((4,), (4,), True, "avg"),
    "avg-4-max-123-BiGRU-emb-avg": ((4,), (1, 2, 3), True, "avg"),
    "avg-4-max-34-BiGRU-emb-avg": ((4,), (3, 4), True, "avg"),
    "avg-4-max-1234-BiGRU-emb-avg": ((4,), (1, 2, 3, 4), True, "avg"),
    "RFE": ((4,), (1, 2, 3, 4), True, "avg"),
    "VSE++": ((4,), (), False, None),
}


def parts(recipe: Recipe) -> tuple:
    model = recipe.model
    return model.avg_stages, model.max_stages, model.bidirectional, model.word_pooling
    return (
        recipe.model.avg_stages,
        recipe.model.max_stages,
        recipe.model.bidirectional,
        recipe.model.word_pooling,
    )


@pytest.mark.parametrize("name", PRINTED)
def test_printed_names(name):
    recipe = recipes.get(name)
    assert parts(recipe) == PRINTED[name]
    assert recipe.name == name and name in recipes.names()
    # §IV-B: what all models of the paper share
    assert (recipe.model.word_dim, recipe.model.rnn_dim, recipe.model.joint_dim) == (
        300,
        1024,
        1024,
    )
    assert (
        recipe.training.batch_size,
        recipe.training.lr,
        recipe.model.margin,
        recipe.training.grad_clip,
    ) == (128, 2e-4, 0.2, 2.0)
    assert (recipe.model.negatives, recipe.model.similarity) == ("hardest", "cosine")
    assert (recipe.training.finetune_epochs, recipe.training.finetune_lr) == (0, 2e-5)
    assert not recipe.model.standardise and recipe.training.warmup_epochs == 0  # not in the paper


@pytest.mark.parametrize("table", ["rfe-1", "rfe-6", "rfe-7", "rfe-8"])
def test_every_row_of_the_ablations_has_its_recipe(table):
    for method, name in paper.table(table).recipe_of_row.items():
        if method == "RFE-ensemble":
            assert len(recipes.compose(name).members) == 4
        elif table == "rfe-1":
            recipe = recipes.get(name)
            assert method == f"mg={recipe.model.margin}"
            assert parts(recipe) == PRINTED["avg-4-GRU-emb-avg"]
        else:
            plain = method.removesuffix(" [21]").removesuffix(" [BMVC2018]").removesuffix("-5K")
            assert parts(recipes.get(name)) == PRINTED[plain]


def test_vsepp_and_its_kin():
    found = [recipes.get(name).model for name in ("VSE++", "VSE0", "Order++", "Order0")]
    assert [model.negatives for model in found] == ["hardest", "all", "hardest", "all"]
    assert [model.similarity for model in found] == ["cosine", "cosine", "order", "order"]
    assert [model.margin for model in found] == [0.2, 0.2, 0.05, 0.05]
    assert not any(model.project_text for model in found)
    assert recipes.get("RFE").model.project_text


def test_the_grammar_speaks_of_what_was_never_printed():
    stages = ("1", "24", "123", "1234")
    seen = set()
    for avg, top, rnn, emb, margin in itertools.product(
        stages, ("", *stages), ("GRU", "BiGRU"), ("", "avg", "max"), ("", "0.15", "1")
    ):
        name = f"avg-{avg}" + (f"-max-{top}" if top else "") + f"-{rnn}"
        name += (f"-emb-{emb}" if emb else "") + (f" mg={margin}" if margin else "")
        recipe = recipes.get(name, "toy")
        assert parts(recipe) == (
            tuple(map(int, avg)),
            tuple(map(int, top)),
            rnn == "BiGRU",
            emb or None,
        )
        assert recipe.model.margin == float(margin or 0.2)
        assert name not in recipes.names() or name in PRINTED
        seen.add(recipe.slug)
    assert len(seen) == 4 * 5 * 2 * 3 * 3, "two names share a folder"


def test_the_order_of_stages_does_not_matter():
    model = recipes.get("avg-41-max-4321-GRU").model
    assert (model.avg_stages, model.max_stages) == ((1, 4), (1, 2, 3, 4))


@pytest.mark.parametrize("name", PRINTED)
def test_every_recipe_builds_at_every_scale(name):
    for scale in ("toy", "laptop", "paper"):
        recipe = recipes.get(name, scale)
        model = models.build(recipe.model, 20, STAGE_DIMS)
        wide = sum(STAGE_DIMS[s - 1] for s in recipe.model.avg_stages + recipe.model.max_stages)
        assert model.image.fc.weight.shape == (recipe.model.joint_dim, wide)
        assert model.text.embed.weight.shape == (20, recipe.model.word_dim)


def test_scales_change_sizes_and_schedule_only():
    changed = {"word_dim", "rnn_dim", "joint_dim", "standardise"}
    for name in ("RFE", "VSE++", "avg-4-GRU-emb-avg mg=0.6"):
        toy, laptop, large = (
            asdict(recipes.get(name, scale).model) for scale in ("toy", "laptop", "paper")
        )
        assert toy["joint_dim"] < laptop["joint_dim"] < large["joint_dim"]
        assert toy["standardise"] and laptop["standardise"] and not large["standardise"]
        for field in toy.keys() - changed:
            assert toy[field] == laptop[field] == large[field]


# Learning rate of all epochs, from the paper's sentence: "set to 0.0002 and decreased by a factor
# of 10 after 15 epochs for Flickr30K and a factor of 1.2 after 15 epochs for MS COCO", 36 epochs.
RATES = {
    "rfe-f30k": [2e-4] * 15 + [2e-5] * 15 + [2e-6] * 6,
    "rfe-coco": [2e-4] * 15 + [1.6666667e-4] * 15 + [1.3888889e-4] * 6,
    "vsepp": [2e-4] * 15 + [2e-5] * 15,
}


@pytest.mark.parametrize("schedule", RATES)
def test_learning_rate_at_each_epoch(schedule):
    recipe = recipes.get("RFE", schedule=schedule)
    assert recipe.training.epochs == len(RATES[schedule])
    rates = [recipe.training.lr_at(epoch) for epoch in range(recipe.training.epochs)]
    np.testing.assert_allclose(rates, RATES[schedule], rtol=1e-6)
    assert recipe.training.lr_at(15, start=2e-5) == pytest.approx(
        2e-5 * recipe.training.lr_drop_factor
    )


def test_training_follows_the_schedule(tmp_path):
    data, features = make(12, 4, 4)
    small = {"word_dim": 4, "rnn_dim": 4, "joint_dim": 4, "vocabulary_threshold": 1}
    recipe = recipes.get("RFE", schedule="rfe-f30k", warmup_epochs=36, **small)
    training.train(recipe, data, features, STAGE_DIMS, tmp_path)
    history = json.loads((tmp_path / "history.json").read_text())
    np.testing.assert_allclose([row["lr"] for row in history], RATES["rfe-f30k"], rtol=1e-9)


def test_schedules_of_the_paper_scale():
    def training(*args, **options):
        return recipes.get(*args, **options).training

    assert training("VSE++").epochs == training("Order++").epochs == 30
    assert training("RFE").epochs == training("avg-4-GRU-emb-avg").epochs == 36
    assert training("RFE").lr_drop_factor == 0.1
    assert training("RFE", schedule="rfe-coco").lr_drop_factor == pytest.approx(1 / 1.2)
    assert training("RFE", "toy", schedule="vsepp").epochs == 30
    assert training("RFE", schedule="rfe-coco", epochs=2).epochs == 2  # overrides win


def test_slugs_tell_every_recipe_apart():
    changes = ({}, {"epochs": 3}, {"margin": 0.25}, {"standardise": False}, {"word_dim": 5})
    slugs = [recipes.get(name, "toy", **each).slug for name in recipes.names() for each in changes]
    assert len(set(slugs)) == len(slugs) == 5 * len(recipes.names())
    assert all(slug == slug.lower() and " " not in slug and "/" not in slug for slug in slugs)
    assert recipes.get("VSE++", "toy").slug == "vsepp"
    assert recipes.get("avg-4-GRU-emb-avg mg=0.3").slug == "avg-4-gru-emb-avg-mg0.3"


def test_overriding_with_the_usual_value_is_no_override():
    plain = recipes.get("RFE", "toy")
    assert recipes.get("RFE", "toy", margin=0.2, epochs=plain.training.epochs).slug == "rfe"
    same = [recipes.get("RFE", "toy", margin=value).slug for value in (1, 1.0, np.float64(1))]
    assert len(set(same)) == 1, "one value, one folder"


def test_overrides_take_their_field_s_type():
    recipe = recipes.get(
        "RFE", "toy", margin=1, avg_stages=4, max_stages=[3, 1], epochs=np.int64(2)
    )
    assert (recipe.model.margin, type(recipe.model.margin)) == (1.0, float)
    assert recipe.model.avg_stages == (4,) and recipe.model.max_stages == (1, 3)
    assert type(recipe.training.epochs) is int
    json.dumps(recipe.to_json())


def test_recipes_are_frozen_and_hashable():
    recipe = recipes.get("RFE")
    with pytest.raises(FrozenInstanceError):
        recipe.model.margin = 0.3
    assert recipes.get("RFE") == recipe and hash(recipes.get("RFE")) == hash(recipe)


@pytest.mark.parametrize("name", [*PRINTED, "Order0", "avg-13-max-2-GRU mg=0.7"])
def test_json_gives_the_recipe_back(name):
    recipe = recipes.get(name, "laptop", epochs=3)
    there = json.loads(json.dumps(recipe.to_json()))
    assert Recipe.from_json(there) == recipe
    del there["finetune_lr"]  # a run of an older version knows fewer fields
    assert Recipe.from_json(there) == recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"from_the_future": 1, "beta_3": 2}, "does not know: beta_3, from_the_future.*update"),
        ({"word_dim": "64"}, "word_dim must be a whole number.*not '64'"),
        ({"margin": {"value": 0.2}}, "margin must be a number"),
        ({"name": ["RFE"]}, "name or scale"),
        ({"scale": None}, "name or scale"),
    ],
)
def test_json_of_a_newer_version_or_with_wrong_values(values, message):
    with pytest.raises(DataError, match=message):
        Recipe.from_json(recipes.get("RFE").to_json() | values)


def test_fields_belong_to_families():
    with pytest.raises(UnknownNameError, match=r"no field of RFE named 'smooth'"):
        recipes.get("RFE", smooth=4.0)
    with pytest.raises(UnknownNameError, match=r"no field of SCAN t-i AVG named 'avg_stages'"):
        recipes.get("SCAN t-i AVG").replaced(avg_stages=(1,))
    assert recipes.get("RFE").replaced(margin=0.3) == recipes.get("RFE", margin=0.3)


@pytest.mark.parametrize(
    "name, suggested",
    [
        ("VSE+", "VSE++"),
        ("avg-4-BiGRU-emb-average", "avg-4-BiGRU-emb-avg"),
        ("avg-4-max-5-BiGRU-emb-avg", "avg-4-max-4-BiGRU-emb-avg"),
        ("avg-4-bigru", "avg-4-BiGRU"),
        ("max-4-BiGRU", "avg-4-BiGRU"),  # the grammar begins with avg
        ("avg-4-GRU-emb-avg mg=big", "avg-4-GRU-emb-avg mg=0.6"),
        ("rfe", "RFE"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(name, suggested):
    with pytest.raises(UnknownNameError, match="There is no recipe named") as caught:
        recipes.get(name)
    assert suggested in str(caught.value)


def test_unknown_scale_schedule_and_field():
    with pytest.raises(UnknownNameError, match=r"no scale named 'papers'\. Did you mean 'paper'"):
        recipes.get("RFE", "papers")
    with pytest.raises(UnknownNameError, match=r"no schedule named 'rfe-f8k'.*'rfe-f30k'"):
        recipes.get("RFE", schedule="rfe-f8k")
    with pytest.raises(UnknownNameError, match=r"no field of RFE named 'marign'.*'margin'"):
        recipes.get("RFE", marign=0.3)
    with pytest.raises(UnknownNameError, match=r"no negatives named 'hard'.*'hardest'"):
        recipes.get("RFE", negatives="hard")
    with pytest.raises(UnknownNameError, match="no word_pooling named 'mean'"):
        recipes.get("RFE", word_pooling="mean")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"epochs": 2.5}, r"epochs must be a whole number, as in epochs=\d+, not 2.5"),
        ({"epochs": "ten"}, "epochs must be a whole number.*not 'ten'"),
        ({"batch_size": 1}, "batch_size must be at least 2"),  # one pair has no negatives
        ({"lr": -1e-3}, "lr must be above 0 and at most 1e.06, not -0.001"),
        ({"lr": float("nan")}, "lr must be above 0 and at most 1e.06, not nan"),
        ({"lr": float("inf")}, "lr must be above 0 and at most 1e.06, not inf"),
        ({"lr": True}, "lr must be a number, as in lr=0.0002, not True"),
        ({"margin": 0}, "margin must be above 0"),
        ({"margin": "0,2"}, "margin must be a number"),
        ({"margin": 1e308}, "margin must be above 0 and at most 100, not 1e"),
        ({"warmup_epochs": -1}, "warmup_epochs must be at least 0"),
        ({"standardise": 1}, "standardise is True or False, not 1"),
        ({"avg_stages": (5,)}, r"avg_stages takes stages from 1 to 4, as in \(1, 2\), not \(5,\)"),
        ({"avg_stages": "4"}, "avg_stages takes stages"),
        ({"avg_stages": (), "max_stages": ()}, "both empty"),
    ],
)
def test_values_that_could_only_fail_later_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        recipes.get("RFE", **changes)


def test_vsepp_needs_equal_sizes():
    with pytest.raises(DataError, match=r"rnn_dim \(64\) and joint_dim \(1024\) must be equal"):
        recipes.get("VSE++", rnn_dim=64)
    assert recipes.get("VSE++", rnn_dim=64, joint_dim=64).model.joint_dim == 64


def test_a_margin_of_zero_in_a_name_is_refused():
    with pytest.raises(DataError, match="margin must be above 0"):
        recipes.get("avg-4-GRU-emb-avg mg=0")


# --- SCAN, ensembles, re-ranking ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "direction", "pooling", "smooth", "lse"),
    [
        ("SCAN t-i LSE", "t-i", "LSE", 9, 6),
        ("SCAN t-i AVG", "t-i", "AVG", 9, 6),
        ("SCAN i-t LSE", "i-t", "LSE", 4, 5),
        ("SCAN-RFE i-t AVG", "i-t", "AVG", 4, 5),
        ("SCAN i-t MAX", "i-t", "MAX", 4, 5),
    ],
)
def test_scan_by_name(name, direction, pooling, smooth, lse):
    recipe = recipes.get(name)
    assert (recipe.model.attention, recipe.model.pooling) == (direction, pooling)
    assert (recipe.model.smooth, recipe.model.lse) == (smooth, lse)
    assert recipe.model.bidirectional and recipe.model.attention_norm == "clipped_l2norm"
    assert recipe.model.rich_words == ("project" if "RFE" in name else None)
    assert (recipe.training.epochs, recipe.training.lr, recipe.training.lr_drop_every) == (
        30,
        2e-4,
        15,
    )


def test_scans_numbers_for_coco():
    recipe = recipes.get("SCAN i-t LSE", schedule="scan-coco")
    training = recipe.training
    assert (training.epochs, training.lr, training.lr_drop_every) == (20, 5e-4, 10)
    assert recipe.model.lse == 20
    assert recipes.get("SCAN t-i LSE", schedule="scan-coco").model.lse == 6
    assert recipes.get("SCAN i-t LSE", schedule="scan-coco", lse=7.0).model.lse == 7


def test_scan_needs_equal_sizes_and_a_frozen_cnn():
    with pytest.raises(DataError, match=r"rnn_dim \(64\) and joint_dim \(1024\) must be equal"):
        recipes.get("SCAN t-i AVG", rnn_dim=64)
    assert recipes.get("SCAN-RFE t-i AVG", rnn_dim=64).model.joint_dim == 1024
    with pytest.raises(DataError, match="frozen"):
        recipes.get("SCAN t-i AVG", finetune_epochs=2)
    with pytest.raises(UnknownNameError, match="no attention named 't2i'"):
        recipes.get("SCAN t-i AVG", attention="t2i")
    with pytest.raises(UnknownNameError, match="SCAN t-i AVG"):
        recipes.get("SCAN t-i AVE")


@pytest.mark.parametrize(
    ("name", "members", "rerank", "mark"),
    [
        ("VSE++", ("VSE++",), False, ""),
        ("RFE-rerank", ("RFE",), True, "transductive"),
        ("SCAN t-i LSE + i-t AVG", ("SCAN t-i LSE", "SCAN i-t AVG"), False, "ensemble"),
        (
            "SCAN-RFE t-i AVG + i-t LSE-rerank",
            ("SCAN-RFE t-i AVG", "SCAN-RFE i-t LSE"),
            True,
            "ensemble, transductive",
        ),
        ("RFE + VSE++ + SCAN t-i AVG", ("RFE", "VSE++", "SCAN t-i AVG"), False, "ensemble"),
        (
            "SCAN t-i AVG + SCAN-RFE t-i AVG",
            ("SCAN t-i AVG", "SCAN-RFE t-i AVG"),
            False,
            "ensemble",
        ),
    ],
)
def test_names_are_taken_apart(name, members, rerank, mark):
    found = recipes.compose(name)
    assert (found.members, found.rerank, found.mark) == (members, rerank, mark)


def test_rfe_ensemble_has_the_four_members_of_the_paper():
    assert recipes.compose("RFE-ensemble").members == (
        "avg-4-max-4-BiGRU-emb-avg",
        "avg-4-max-123-BiGRU-emb-avg",
        "avg-4-max-34-BiGRU-emb-avg",
        "avg-4-max-1234-BiGRU-emb-avg",
    )


@pytest.mark.parametrize("name", ["RFE + VSE+", "RFE +", "-rerank", "RFE-rerank-rerank"])
def test_a_name_with_a_member_that_is_no_recipe(name):
    with pytest.raises(UnknownNameError):
        recipes.compose(name)


@pytest.mark.parametrize("name", ["RFE-ensemble", "VSE++ + RFE", "RFE-rerank"])
def test_a_name_that_is_not_trained_by_itself_says_who_does_it(name):
    with pytest.raises(DataError, match=r"put together from .*ensemble\.train"):
        recipes.get(name)
    with pytest.raises(UnknownNameError, match="RFF"):
        recipes.get(name.replace("RFE", "RFF"))
