"""Checks of the exercises accept right solutions and explain wrong ones."""

import importlib
import math

import numpy as np
import pytest
import torch
from notebook_solutions import solution, stub
from xmr_course.lessons.checking import Check, CheckFailed

from xmr_lib import losses
from xmr_lib.cross_attention import pool_cosines
from xmr_lib.encoders import attention, text, tree
from xmr_lib.evaluation import evaluate_scores
from xmr_lib.trainer import TrainingConfig

LESSONS = {
    f"{n:02d}": importlib.import_module(f"xmr_course.lessons.lesson_{n:02d}") for n in range(17)
}
CHECKS = {
    f"{lesson}.{check.name}": check
    for lesson, module in LESSONS.items()
    for check in vars(module).values()
    if isinstance(check, Check)
}
MISTAKES = [
    pytest.param(check, wrong, hint, id=f"{name}-{number}")
    for name, check in CHECKS.items()
    for number, (wrong, hint) in enumerate(check.mistakes)
]
each_check = pytest.mark.parametrize("name", CHECKS)


def verdict(name: str, answer) -> str:
    with pytest.raises(CheckFailed) as failure:
        CHECKS[name].examine(answer)
    return str(failure.value)


def test_every_lesson_has_a_check_named_after_its_exercise():
    assert {name.split(".")[0] for name in CHECKS} == set(LESSONS)
    for name, check in CHECKS.items():
        lesson, exercise = name.split(".")
        assert getattr(LESSONS[lesson], f"check_{exercise}") is check
        assert check.__doc__.startswith("`function(")


@each_check
def test_the_notebooks_solution_passes_and_its_stub_is_unwritten(name, capsys):
    check = CHECKS[name]
    check(solution(*name.split(".")))
    n = len(check.cases) + len(check.traps) + len(check.further)
    assert capsys.readouterr().out == f"✓ {check.name}: all {n} checks passed.\n"
    check(stub(*name.split(".")))
    assert capsys.readouterr().out.startswith(f"✗ {check.name}: is not written yet.\n")


@pytest.mark.parametrize(("check", "wrong", "hint"), MISTAKES)
def test_each_known_mistake_gets_its_own_hint(check, wrong, hint):
    with pytest.raises(CheckFailed) as failure:
        check.examine(wrong)
    assert str(failure.value).endswith(f"Hint: {hint}")


@each_check
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda *arguments: 1 / 0, "crashed with ZeroDivisionError"),
        (lambda *arguments: None, "Did you forget `return`"),
        (lambda *arguments: object(), "eturn"),  # says what to return
        (lambda *arguments: torch.zeros(7, 7, 7), ""),
    ],
)
def test_what_is_no_answer_is_told(name, answer, said):
    assert said in verdict(name, answer)


@each_check
def test_a_solution_cannot_damage_the_cases(name):
    def greedy(*arguments):
        result = CHECKS[name].solution(*arguments)
        for each in arguments:
            if isinstance(each, np.ndarray | torch.Tensor) and "triplet" not in name:
                each[...] = 0
            elif isinstance(each, list | dict):
                each.clear()
        return result

    for _ in range(2):
        CHECKS[name].examine(greedy)


def test_a_wrong_number_says_more_than_a_crash_elsewhere():
    def five_captions_each(scores, image_of_caption, k):
        ranks = (-scores).argsort(1).argsort(1)
        i2t = [ranks[i, 5 * i : 5 * i + 5].min() < k for i in range(len(scores))]  # may be empty
        return 100 * np.mean(i2t), CHECKS["01.recall_at_k"].solution(scores, image_of_caption, k)[1]

    assert "Image to text: `caption // 5`" in verdict("01.recall_at_k", five_captions_each)


# --- right solutions in other words ---------------------------------------------------------------


def recall(scores, image_of_caption, k):
    found = evaluate_scores(scores, image_of_caption)
    return 100 * found.i2t.recall_at_k(k).mean(), 100 * found.t2i.recall_at_k(k).mean()


def one_miss(scores, right, k):
    """One minus the probability that no right item of the tie is drawn."""
    best = scores[right].max()
    left = max(k - (scores > best).sum(), 0)
    hits, tied = (scores[right] == best).sum(), (scores == best).sum()
    return 1 - math.comb(tied - hits, min(left, tied)) / math.comb(tied, min(left, tied))


def masked_loss(scores, images, margin):
    same_image = images[:, None] == images[None, :]
    return tuple(losses.triplet_loss(scores, margin, same_image=same_image).values())


def features_by_loops(maps):
    rows = []
    for i in range(len(maps[0])):
        numbers = [float(channel.max()) for m in maps for channel in m[i]]
        numbers += [float(channel.mean()) for channel in maps[3][i]]
        length = sum(x * x for x in numbers) ** 0.5
        rows.append([x / length for x in numbers])
    return torch.tensor(rows)


def split_name(name):
    parts = name.split("-")
    place = next(i for i, part in enumerate(parts) if part.endswith("GRU"))
    stages = dict(zip(parts[:place:2], parts[1:place:2], strict=True))
    stages = {key: tuple(int(digit) for digit in stages.get(key, "")) for key in ("avg", "max")}
    return stages | {"rnn": parts[place], "emb": parts[-1] if "emb" in parts else None}


def one_pair_after_the_other(products, regions, words, smooth):
    result = torch.full_like(products, 99.0)  # columns of padding may hold anything
    for i in range(len(products)):
        real = torch.nn.functional.leaky_relu(products[i][regions[i]][:, words[i]], 0.1)
        weights = (smooth * real / real.norm(dim=1, keepdim=True)).softmax(0)
        column = torch.zeros(regions.shape[1], weights.shape[1])
        column[regions[i]] = weights
        result[i][:, words[i]] = column
    return result


def node_by_the_library(z_i, z_f, z_o, z_u, children_f, children_c):
    i, f, o = (
        gate(z, 0 * z)
        for gate, z in (
            (tree.input_gate, z_i),
            (tree.forget_gate, z_f),
            (tree.output_gate, z_o),
        )
    )
    c = tree.cell_state(i, tree.candidate(z_u, 0 * z_u), f, children_f, children_c)
    return [c, tree.hidden_state(o, c)]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("00.best_rank", lambda s, r: np.int64(1 + (s > s[r].max()).sum())),
        ("01.recall_at_k", recall),
        ("01.recall_under_ties", one_miss),
        ("02.hardest_triplet_loss", lambda s, m: tuple(losses.triplet_loss(s, m).values())),
        ("02.masked_triplet_loss", masked_loss),
        ("03.rich_image_features", features_by_loops),
        (
            "04.pool_words",
            lambda w, m: torch.stack([x[y].mean(0) for x, y in zip(w, m, strict=True)]),
        ),
        ("04.rich_text_features", lambda f, w: text.rich_text_features(f.mean(0), w)),
        (
            "05.learning_rate",
            lambda e, lr, n, f: TrainingConfig(lr=lr, lr_drop_every=n, lr_drop_factor=f).lr_at(
                e - 1
            ),
        ),
        ("06.parse_name", split_name),
        ("06.paired_differences", lambda a, b, draws: [100 * (a[d] - b[d]).mean() for d in draws]),
        (
            "07.reciprocal_sets",
            lambda index: [[q for q in row if p in index[q]] for p, row in enumerate(index)],
        ),
        ("07.jaccard_distance", lambda p, g: abs(p - g).sum() / np.maximum(p, g).sum()),
        (
            "07.mean_ranks",
            lambda s: (s[:, :, None, :] >= s[:, :, :, None]).sum(3).mean(0).tolist(),
        ),
        ("08.attention_weights", one_pair_after_the_other),
        ("08.log_sum_exp", lambda c, w, s: pool_cosines(c.T[None], "LSE", s, ~w.T)[0]),
        ("09.attention_weights", lambda x, m: attention.self_attention(x, m)[1]),
        ("09.effective_parts", lambda w: torch.distributions.Categorical(w).perplexity()),
        ("11.node_state", node_by_the_library),
        ("11.children_sums", lambda h: h[:, [[0, 2], [1, 5], [4, 6]]].sum(2)),
        (
            "16.recall_of_search",
            lambda f, e: np.mean([np.isin(*x) for x in zip(e, f, strict=True)]),
        ),
    ],
)
def test_right_solutions_in_other_words_pass(name, answer):
    CHECKS[name].examine(answer)


# --- wrong forms, and mistakes that need more than numbers ----------------------------------------


def loss(scores, margin):
    return tuple(losses.triplet_loss(scores, margin).values())


def loss_in_place(scores, margin):
    result = loss(scores, margin)
    scores.fill_diagonal_(0)
    return result


def softmax_of(parts, mask, query):
    products = (parts * query[:, None]).sum(2)
    return products.masked_fill(~mask, float("-inf")).softmax(1)


def parsed(**changes):
    def parse(name):
        found = CHECKS["06.parse_name"].solution(name)
        return found | {key: change(found[key], name) for key, change in changes.items()}

    return parse


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("00.best_rank", lambda s, r: s, "one number"),
        ("01.recall_at_k", lambda s, o, k: 50.0, "instead of two numbers"),
        ("01.recall_at_k", lambda s, o, k: (50.0, 50.0), "by hand"),
        ("02.hardest_triplet_loss", lambda s, m: sum(loss(s, m)), "two values"),
        ("02.hardest_triplet_loss", lambda s, m: (s.sum(0), s.sum(1)), "must be one number"),
        ("02.hardest_triplet_loss", lambda s, m: [x.item() for x in loss(s, m)], "no gradient"),
        ("02.hardest_triplet_loss", loss_in_place, "in place"),
        (
            "02.masked_triplet_loss",
            lambda s, i, m: [
                x + (y - y.detach())
                for x, y in zip(masked_loss(s, i, m), masked_loss(2 * s, i, m), strict=True)
            ],
            "a wrong gradient",
        ),
        (
            "03.rich_image_features",
            lambda maps: features_by_loops(maps)[..., None],
            "Only the shape",
        ),
        (
            "04.pool_words",
            lambda w, m: (w * m[..., None]).sum(1) / m.sum(1, keepdim=True),
            "0 · nan is nan",
        ),
        ("06.parse_name", lambda name: {"avg": []}, "Return a dictionary"),
        ("06.parse_name", parsed(avg=lambda v, _: "".join(map(str, v))), "stages of their own"),
        ("06.parse_name", parsed(avg=lambda v, _: [str(x) for x in v]), "numbers, not text"),
        ("06.parse_name", parsed(max=lambda v, _: v or None), "an empty list"),
        ("06.parse_name", parsed(max=lambda v, n: [4] if "emb-max" in n else v), "to the words"),
        ("06.parse_name", parsed(max=lambda v, _: v[:1]), "right behind this word"),
        ("06.parse_name", parsed(rnn=lambda v, _: "GRU"), "look for the longer one first"),
        ("06.parse_name", parsed(emb=lambda v, _: v or "avg"), "stay out: None"),
        ("06.parse_name", parsed(emb=lambda v, _: v and "avg"), "behind `emb-`"),
        ("06.paired_differences", lambda a, b, d: 100 * (a - b)[d], "over its last axis"),
        (
            "07.reciprocal_sets",
            lambda i: [{p} for p in range(len(i))],
            "row 0 is {0}, right is {0,",
        ),
        ("07.reciprocal_sets", lambda i: [{0}], "Every item has a set"),
        ("07.reciprocal_sets", lambda i: [{-1} for _ in i], "numbers that are no items"),
        ("07.reciprocal_sets", lambda i: 3, "one set for each item"),
        ("07.mean_ranks", lambda s: s.argsort(2).mean(1), "average over the models"),
        (
            "08.attended_cosines",
            lambda a, p, g, h: (a * p).sum(0) / ((a * (g @ a)).sum(0) * h.diagonal()).sqrt(),
            "0 / 0 is nan",
        ),
        (
            "08.log_sum_exp",
            lambda c, w, s: ((s * c).exp() * w).sum(1).log() / s,
            "too large for float32",
        ),
        (
            "09.attention_weights",
            lambda x, m: softmax_of(x, ~m, x.mean(1)),
            "fill where it is False",
        ),
        (
            "09.attention_weights",
            lambda x, m: softmax_of(x, m, (x * m[..., None]).sum(1) / m.sum(1, True)),
            "0 · nan is nan",
        ),
        ("09.effective_parts", lambda w: (-(w * w.log()).sum(1)).exp(), "0 · ln 0 is nan"),
        ("10.right_half", lambda chunks: ("ball", "in"), "object, relation and fragment"),
        ("10.right_half", lambda chunks: 3, "three values"),
        ("10.category_of", lambda f, d: True, "one number"),
        ("11.node_state", lambda *z: z[0], "Return two tensors"),
        ("11.node_state", lambda *z: (z[0], z[4]), "both are alike"),
        ("12.neighbours", lambda c, t, s, u, x: np.ones(3), "one row and one column"),
    ],
)
def test_wrong_forms_are_explained(name, answer, said):
    assert said in verdict(name, answer)
