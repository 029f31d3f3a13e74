import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch.utils._python_dispatch import TorchDispatchMode

from xmr_lib.errors import DataError
from xmr_lib.evaluation import evaluate_scores
from xmr_lib.reranking import KReciprocal, Settings, evaluate, from_distances, neighbours, rerank
from xmr_lib.reranking.k_reciprocal import expanded_sets, local_query_expansion
from xmr_lib.reranking.neighbours import smallest
from xmr_lib.similarity import l2norm

GOLDEN = np.load(Path(__file__).parent / "golden" / "rerank.npz")
GOLDEN_TABLES = [GOLDEN[name] for name in ("q_q_dist", "q_g_dist", "g_g_dist")]
GOLDEN_SETTINGS = [(20, 6, 0.3), (20, 1, 0.3), (7, 3, 0.3), (20, 6, 0.0), (20, 6, 1.0), (5, 2, 0.5)]


def golden(settings: tuple[int, int, float]) -> np.ndarray:
    return GOLDEN["ranklist_k1{}_k2{}_l{}".format(*settings)]


def golden_vectors(dtype: torch.dtype) -> list[torch.Tensor]:
    return [torch.from_numpy(GOLDEN[name]).to(dtype) for name in ("query", "gallery")]


def made_vectors(n_images: int, n_captions: int, seed: int = 0, d: int = 32) -> list[torch.Tensor]:
    """Unit vectors in clusters, as float64: neighbours of neighbours are shared."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(2, n_images // 8), d))

    def some(n: int) -> torch.Tensor:
        noise = 0.8 * rng.standard_normal((n, d))
        return l2norm(torch.from_numpy(centres[rng.integers(len(centres), size=n)] + noise))

    return [some(n_images), some(n_captions)]


def euclidean(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    return (2 - 2 * a.double() @ b.double().T).clamp(min=0).sqrt().numpy()


def tables_of(a: torch.Tensor, b: torch.Tensor) -> list[np.ndarray]:
    return [euclidean(a, a), euclidean(a, b), euclidean(b, b)]


def plain_rerank(tables: list[np.ndarray], settings: Settings) -> dict[str, np.ndarray]:
    """The equations as they read: whole tables, sets, one item after the other; both directions."""
    k1, k2, lam = settings.k1, settings.k2, settings.lam
    within_images, cross, within_captions = tables
    d = np.block([[within_images, cross], [cross.T, within_captions]]) ** 2
    np.fill_diagonal(d, 0)
    d /= np.maximum(d.max(axis=1, keepdims=True), 1e-300)
    n_images, n = len(cross), len(d)
    order = np.argsort(d - np.eye(n), axis=1, kind="stable")  # itself before its duplicates

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in order[i, : k + 1] if i in order[j, : k + 1]}

    v = np.zeros_like(d)
    for i in range(n):
        mine = reciprocal(i, k1)
        members = set(mine)
        for j in mine:
            theirs = reciprocal(j, round(k1 / 2))
            if len(theirs & mine) > 2 / 3 * len(theirs):
                members |= theirs
        members = sorted(members)
        weights = np.exp(-d[i, members])
        v[i, members] = weights / weights.sum()
    if k2 != 1:
        v = np.stack([v[order[i, :k2]].mean(axis=0) for i in range(n)])
    jaccard = np.empty(cross.shape)
    for i in range(n_images):
        m = np.minimum(v[i], v[n_images:]).sum(axis=1)
        jaccard[i] = 1 - m / (2 - m)
    return {
        "images": (1 - lam) * jaccard + lam * d[:n_images, n_images:],
        "captions": (1 - lam) * jaccard.T + lam * d[n_images:, :n_images],
    }


def assert_both(fitted: KReciprocal, expected: dict[str, np.ndarray], atol: float) -> None:
    for queries, distances in expected.items():
        np.testing.assert_allclose(fitted.distances(queries), distances, rtol=0, atol=atol)


# --- against the peers ----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", GOLDEN_SETTINGS)
def test_golden_from_distances(settings):
    fitted = from_distances(*GOLDEN_TABLES, Settings(*settings))
    np.testing.assert_allclose(fitted.distances(), golden(settings), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", GOLDEN_SETTINGS)
def test_golden_from_vectors(settings, dtype):
    distances = rerank(*golden_vectors(dtype), Settings(*settings)).distances()
    assert distances.dtype == dtype
    np.testing.assert_allclose(distances, golden(settings), rtol=0, atol=1e-6)


def test_golden_with_captions_as_queries():
    expected = GOLDEN["t2i_ranklist_k120_k26_l0.3"]
    for fitted in (
        from_distances(*GOLDEN_TABLES),
        rerank(*golden_vectors(torch.float32)),
    ):
        distances = fitted.distances("captions")
        np.testing.assert_allclose(distances, expected, rtol=0, atol=1e-6)
        assert not np.allclose(distances.T, fitted.distances("images"), atol=1e-3)


# --- against the plain version --------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_equals_the_plain_version(dtype, atol):
    images, captions = made_vectors(300, 1500)
    fitted = rerank(images.to(dtype), captions.to(dtype))
    assert_both(fitted, plain_rerank(tables_of(images, captions), Settings()), atol)


@pytest.mark.parametrize("settings", [(20, 1, 0.3), (9, 10, 0.5), (6, 3, 0.0), (1, 2, 0.3)])
def test_equals_the_plain_version_with_other_settings(settings):
    settings = Settings(*settings)
    images, captions = made_vectors(40, 130, seed=1)
    tables = tables_of(images, captions)
    expected = plain_rerank(tables, settings)
    assert_both(rerank(images, captions, settings), expected, 1e-9)
    assert_both(from_distances(*tables, settings), expected, 1e-9)


@pytest.mark.parametrize("sizes", [(1, 12), (12, 1), (1, 1), (3, 4)])
@pytest.mark.parametrize("k1", [1, 2, 20])
def test_few_items_and_larger_k1(sizes, k1):
    settings = Settings(k1, min(k1 + 1, 6), 0.3)
    images, captions = made_vectors(*sizes, seed=2)
    expected = plain_rerank(tables_of(images, captions), settings)
    assert_both(rerank(images, captions, settings), expected, 1e-9)


def test_duplicates_in_the_order_of_their_numbers():
    # Vectors of a few whole numbers: their products are exact, and many are equal.
    rng = np.random.default_rng(3)
    corners = torch.from_numpy(rng.choice([-0.5, 0.5], size=(90, 4)))
    images, captions = corners[:20], corners[20:]
    for settings in (Settings(), Settings(4, 3, 0.3)):
        expected = plain_rerank(tables_of(images, captions), settings)
        assert_both(rerank(images, captions, settings), expected, 1e-9)
        assert_both(rerank(images.float(), captions.float(), settings), expected, 1e-5)


def test_small_tiles_give_the_same(monkeypatch):
    images, captions = made_vectors(30, 101, seed=4)

    def both() -> list[KReciprocal]:
        return [
            rerank(images, captions),
            from_distances(*tables_of(images, captions)),
        ]

    whole = both()
    monkeypatch.setattr("xmr_lib.reranking.neighbours.PRODUCT_TILE", 7)
    monkeypatch.setattr("xmr_lib.reranking.neighbours.TABLE_TILE", 300)
    monkeypatch.setattr("xmr_lib.reranking.neighbours.PAIRS", 50)
    monkeypatch.setattr("xmr_lib.reranking.k_reciprocal.PAIRS", 50)
    for one, other in zip(whole, both(), strict=True):
        np.testing.assert_array_equal(one.neighbours.index, other.neighbours.index)
        for queries in ("images", "captions"):
            np.testing.assert_allclose(
                one.distances(queries), other.distances(queries), rtol=0, atol=1e-12
            )


# --- by hand --------------------------------------------------------------------------------------


def test_two_images_and_two_captions_by_hand():
    # Distances: image 0 – image 1: 2, caption 0 – caption 1: 2, image i – caption i: 1, else 3
    # (but 4 from image 1 to caption 0). With k1 = 1 each image and its caption are each other's
    # only neighbour. Squared and over the largest of the row, the neighbour is at
    #   image 0: 1/9   image 1: 1/16   caption 0: 1/16   caption 1: 1/9
    # With a = exp(-1/9) and b = exp(-1/16), which is larger, the weights are
    #   image 0:   1/(1+a) of itself, a/(1+a) of caption 0
    #   caption 0: b/(1+b) of image 0, 1/(1+b) of itself
    # so that m = min(1/(1+a), b/(1+b)) + min(a/(1+a), 1/(1+b)) = b/(1+b) + a/(1+a), as
    # b < 1 < (1+b)/(1+a) … and the same for image 1 and caption 1. Others share nothing: J = 1.
    fitted = from_distances(
        np.array([[0.0, 2.0], [2.0, 0.0]]),
        np.array([[1.0, 3.0], [4.0, 1.0]]),
        np.array([[0.0, 2.0], [2.0, 0.0]]),
        Settings(k1=1, k2=1, lam=0.25),
    )
    a, b = math.exp(-1 / 9), math.exp(-1 / 16)
    m = b / (1 + b) + a / (1 + a)
    jaccard = 1 - m / (2 - m)
    by_images = [
        [0.75 * jaccard + 0.25 * 1 / 9, 0.75 + 0.25 * 9 / 9],
        [0.75 + 0.25 * 16 / 16, 0.75 * jaccard + 0.25 * 1 / 16],
    ]
    by_captions = [
        [0.75 * jaccard + 0.25 * 1 / 16, 0.75 + 0.25 * 16 / 16],
        [0.75 + 0.25 * 9 / 9, 0.75 * jaccard + 0.25 * 1 / 9],
    ]
    np.testing.assert_allclose(fitted.distances("images"), by_images, rtol=1e-12)
    np.testing.assert_allclose(fitted.distances("captions"), by_captions, rtol=1e-12)


def members(lists: list[list[int]], k: int, item: int) -> list[int]:
    return expanded_sets(np.array(lists), k)[[item]].indices.tolist()


def test_two_thirds_are_too_few_to_expand():
    # R(0, 4) = {0, 1, 2, 4, 5}: 3 is not in its list. R(1, 2) = R(2, 2) = {1, 2, 3}, of which
    # {1, 2} are in R(0, 4): exactly 2/3, and the peers' code asks for more.
    lists = [
        [0, 1, 2, 4, 5],
        [1, 2, 3, 0, 4],
        [2, 1, 3, 0, 5],
        [3, 1, 2, 4, 5],
        [4, 0, 5, 1, 2],
        [5, 0, 4, 1, 2],
    ]
    assert members(lists, 4, 0) == [0, 1, 2, 4, 5]


def test_three_quarters_expand():
    # R(0, 6) = all but 4. R(1, 3) = {1, 2, 3, 4}: three of four are in it, so 4 is added to it.
    lists = [
        [0, 1, 2, 3, 5, 6, 7],
        [1, 2, 3, 4, 0, 5, 6],
        [2, 1, 3, 4, 0, 5, 6],
        [3, 1, 2, 4, 0, 5, 6],
        [4, 1, 2, 3, 5, 6, 7],
        [5, 0, 6, 7, 1, 2, 3],
        [6, 0, 5, 7, 1, 2, 3],
        [7, 0, 5, 6, 1, 2, 3],
    ]
    assert members(lists, 6, 0) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_local_query_expansion_by_hand():
    # Rows (1, 0, 0), (0, ½, ½), (0, ¼, ¾); means of rows 0 and 1, 1 and 2, 2 and 0.
    rows = csr_array([[1, 0, 0], [0, 0.5, 0.5], [0, 0.25, 0.75]])
    mean = local_query_expansion(rows, np.array([[0, 1], [1, 2], [2, 0]])).toarray()
    expected = [[0.5, 0.25, 0.25], [0, 0.375, 0.625], [0.5, 0.125, 0.375]]
    np.testing.assert_array_equal(mean, expected)


def test_smallest_prefers_earlier_places():
    values = torch.tensor([[2.0, 1.0, 2.0, 0.0, 2.0], [5.0, 4.0, 3.0, 2.0, 1.0], [1.0] * 5])
    for k in (1, 2, 3, 4, 5, 9):
        order = np.argsort(values.numpy(), axis=1, kind="stable")[:, :k]
        found, place = smallest(values, k)
        np.testing.assert_array_equal(place, order)
        np.testing.assert_array_equal(found, np.take_along_axis(values.numpy(), order, axis=1))


# --- properties -----------------------------------------------------------------------------------


def test_only_the_original_distance_with_lambda_one():
    images, captions = made_vectors(30, 150, seed=5)
    fitted = rerank(images, captions, Settings(lam=1))
    cosines = (images @ captions.T).numpy()
    for queries, scores in (("images", cosines), ("captions", cosines.T)):
        order = fitted.distances(queries).numpy().argsort(axis=1)
        np.testing.assert_array_equal(order, (-scores).argsort(axis=1))


def test_only_the_jaccard_distance_with_lambda_zero():
    images, captions = made_vectors(30, 150, seed=5)
    fitted = rerank(images, captions, Settings(lam=0))
    distances = fitted.distances().numpy()
    np.testing.assert_array_equal(distances, fitted.distances("captions").T)  # symmetric
    assert 0 <= distances.min() < 0.5
    assert (distances == 1).sum() > 100  # those that share no neighbour


def test_an_answer_depends_on_the_other_queries():
    images, captions = made_vectors(12, 60, seed=6)
    alone = rerank(images[:6], captions).distances()
    together = rerank(images, captions).distances()[:6]
    assert not np.allclose(alone, together, atol=1e-3)


def test_identical_vectors_are_all_alike():
    same = torch.full((30, 4), 0.5)  # their products are exactly 1
    distances = rerank(same[:4], same[4:], Settings(k1=29, k2=30)).distances()
    np.testing.assert_allclose(distances, np.zeros((4, 26)), rtol=0, atol=1e-6)
    # With k1 = 3 all lists hold images only: no caption is in the list of an image, and J = 1.
    fitted = rerank(same[:4], same[4:], Settings(k1=3, k2=1, lam=0))
    assert fitted.neighbours.index[29].tolist() == [29, 0, 1, 2]
    assert fitted.neighbours.index[1].tolist() == [1, 0, 2, 3]
    for queries in ("images", "captions"):
        np.testing.assert_array_equal(fitted.distances(queries), 1)


def test_zero_vectors_are_far_from_all():
    images, captions = made_vectors(10, 50, seed=7)
    images[3], captions[4], captions[5] = 0, 0, 0
    fitted = rerank(images, captions)
    expected = plain_rerank(tables_of(images, captions), Settings())
    assert np.isfinite(expected["images"]).all()
    assert_both(fitted, expected, 1e-9)


def test_vectors_of_other_precisions():
    images, captions = made_vectors(10, 50, seed=7)
    whole = rerank(images, captions).distances()
    mixed = rerank(images, captions.float()).distances("captions")
    assert mixed.dtype == torch.float64
    np.testing.assert_allclose(mixed, rerank(images, captions).distances("captions"), atol=1e-5)
    half = rerank(images.half(), captions.half()).distances()
    assert half.dtype == torch.float32
    np.testing.assert_allclose(half, whole, rtol=0, atol=0.05)


def test_tiles_are_parts_of_the_whole():
    fitted = rerank(*made_vectors(30, 150, seed=8))
    for queries in ("images", "captions"):
        whole = fitted.distances(queries)
        some = fitted.distances(queries, slice(5, 20), slice(3, 29))
        np.testing.assert_allclose(some, whole[5:20, 3:29], rtol=0, atol=1e-12)
        last = fitted.distances(queries, columns=slice(-4, None))
        np.testing.assert_allclose(last, whole[:, -4:], rtol=0, atol=1e-12)


# --- scores of the model's own --------------------------------------------------------------------


def test_cross_scores_replace_the_products_between_sides():
    images, captions = made_vectors(30, 150, seed=9)
    scores = (images @ captions.T) * 0.5 + 0.3 * torch.rand(30, 150)
    scores[0, 0] = 1.5  # as near as can be
    given = (2 - 2 * scores).clamp(min=0).sqrt().numpy()
    expected = plain_rerank(
        [euclidean(images, images), given, euclidean(captions, captions)], Settings()
    )
    assert not np.allclose(rerank(images, captions).distances(), expected["images"], atol=1e-2)
    before = scores.clone()
    for cross in (scores, scores.numpy()):
        assert_both(rerank(images, captions, cross=cross), expected, 1e-9)
    assert torch.equal(scores, before)  # nothing is computed in place


def test_tables_are_not_written_to():
    tables = [table.copy() for table in GOLDEN_TABLES]
    from_distances(*tables).distances("captions")
    for table, original in zip(tables, GOLDEN_TABLES, strict=True):
        np.testing.assert_array_equal(table, original)


# --- evaluation -----------------------------------------------------------------------------------


def assert_same_ranks(result, distances: dict[str, torch.Tensor], owner: np.ndarray) -> None:
    by_images = evaluate_scores(-distances["images"], owner)
    by_captions = evaluate_scores(-distances["captions"].T, owner)
    for field in ("greater", "tied", "hits"):
        expected = getattr(by_images.i2t, field), getattr(by_captions.t2i, field)
        np.testing.assert_array_equal(getattr(result.i2t, field), expected[0])
        np.testing.assert_array_equal(getattr(result.t2i, field), expected[1])


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("kind", ["none", "matrix"])
def test_evaluate_equals_the_whole_matrix(shuffled, kind):
    rng = np.random.default_rng(10)
    images, _ = made_vectors(60, 1, seed=10)
    owner = np.concatenate([np.arange(60), rng.integers(60, size=200)])
    owner = rng.permutation(owner) if shuffled else np.sort(owner)
    captions = l2norm(images[owner] + 0.2 * torch.from_numpy(rng.standard_normal((260, 32))))
    scores = images @ captions.T + 0.05 * torch.from_numpy(rng.standard_normal((60, 260)))
    cross = {"none": None, "matrix": scores}[kind]
    # k2 = 1 and so few neighbours leave ties, which must count as such
    for settings in (Settings(), Settings(3, 1, 0.0)):
        result = evaluate(images, captions, owner, settings, cross)
        fitted = rerank(images, captions, settings, cross)
        distances = {queries: fitted.distances(queries) for queries in ("images", "captions")}
        assert_same_ranks(result, distances, owner)
        np.testing.assert_array_equal(result.image_of_caption, owner)
        assert 0 < result.metrics()["t2i_r1"] < 100
    assert result.t2i.tied.any()


class LargestTensor(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for each in result if isinstance(result, tuple | list) else [result]:
            if isinstance(each, torch.Tensor):
                self.numbers = max(self.numbers, each.untyped_storage().nbytes() // 4)
        return result


def test_memory_grows_with_the_items_and_not_their_square(monkeypatch):
    monkeypatch.setattr(neighbours, "PRODUCT_TILE", 512)
    images, captions = (v.float() for v in made_vectors(700, 3500))
    owner = np.repeat(np.arange(700), 5)
    n = len(images) + len(captions)
    with LargestTensor() as largest:
        evaluate(images, captions, owner)
    tracemalloc.start()
    evaluate(images, captions, owner)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 512**2 <= largest.numbers < n**2 / 10  # the tiles of products were seen
    assert 1e6 < peak < 4 * n**2 / 2  # all arrays of numpy together: half a table of float32


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 0}, "k1"),
        ({"k1": 2.5}, "k1"),
        ({"k1": True}, "k1"),
        ({"k2": 0}, "k2"),
        ({"k1": 5, "k2": 7}, "k1 \\+ 1 = 6"),
        ({"lam": -0.1}, "lam"),
        ({"lam": 1.1}, "lam"),
        ({"lam": float("nan")}, "lam"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(DataError, match=message):
        Settings(**options)


def test_settings_at_the_ends_of_their_ranges():
    assert Settings(k1=np.int64(5), k2=6, lam=0) != Settings(k1=5, k2=1, lam=1)


def test_unusable_vectors():
    images, captions = made_vectors(4, 9)
    with pytest.raises(DataError, match="caption 2 has length 3"):
        rerank(images, torch.cat([captions[:2], 3 * captions[2:]]))
    broken = images.clone()
    broken[1, 0] = torch.nan
    with pytest.raises(DataError, match="image 1 has length nan"):
        rerank(broken, captions)
    with pytest.raises(DataError, match="32 numbers, caption vectors 31"):
        rerank(images, l2norm(captions[:, :31]))
    with pytest.raises(DataError, match="at least one caption"):
        rerank(images, captions[:0])


def test_unusable_scores_and_distances():
    images, captions = made_vectors(4, 9)
    with pytest.raises(DataError, match=r"\(9, 4\) do not fit 4 images"):
        rerank(images, captions, cross=torch.rand(9, 4))
    tables = tables_of(images, captions)
    with pytest.raises(DataError, match="do not fit together"):
        from_distances(tables[2], tables[1], tables[0])
    tables[1][2, 5] = np.nan
    with pytest.raises(DataError, match="image 2 are NaN"):
        from_distances(*tables)
    tables = tables_of(images, captions)
    tables[2][3, 5] = tables[2][5, 3] = np.inf
    with pytest.raises(DataError, match="caption 3 are NaN or infinite"):
        from_distances(*tables)


def test_unknown_side_and_unfitting_index():
    images, captions = made_vectors(4, 9)
    with pytest.raises(DataError, match="'texts'"):
        rerank(images, captions).distances("texts")
    with pytest.raises(DataError, match="index of 8"):
        evaluate(images, captions, np.zeros(8, dtype=int))
    with pytest.raises(DataError, match="image"):
        evaluate(images, captions, np.zeros(9, dtype=int))
