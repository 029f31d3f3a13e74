"""Plausible wrong solutions of assignment 6, re-ranking."""

from assignments.harness import Wrong

WRONG = [
    Wrong(
        name="one neighbour too few",
        cell="nearest",
        code="""
def nearest(squared, k):
    own_first = squared.copy()
    np.fill_diagonal(own_first, -1)
    return own_first.argsort(axis=1, kind="stable")[:, :k]
""",
        loses=("test_nearest",),
        reveals="Off by one: counts the item itself among its k nearest.",
    ),
    Wrong(
        name="either instead of both",
        cell="reciprocal",
        code="""
def reciprocal(index):
    n = len(index)
    near = np.zeros((n, n), dtype=bool)
    near[np.arange(n)[:, None], index] = True
    return near | near.T
""",
        loses=("test_reciprocal",),
        reveals="Accepts either direction to make the relation symmetric: every outlier gets in.",
    ),
    Wrong(
        name="at least two thirds",
        cell="expanded",
        code="""
def expanded(mine, closer):
    circle = closer.astype(float)
    accepted = mine & (3 * (mine @ circle.T) >= 2 * circle.sum(axis=1))
    return mine | (accepted @ circle > 0)
""",
        loses=("test_expanded",),
        reveals="Follows the paper; the task (and its authors' code) asks for over two thirds.",
        hidden_only=True,
    ),
    Wrong(
        name="columns sum to one",
        cell="weights",
        code="""
def weights(squared, members):
    largest = squared.max(axis=1, keepdims=True)
    v = np.where(members, np.exp(-squared / np.where(largest > 0, largest, 1)), 0)
    return v / v.sum(axis=0)
""",
        loses=("test_weights",),
        reveals="Wrong axis: describes who counts the item as a neighbour, not its own neighbours.",
    ),
    Wrong(
        name="sum for maximum",
        cell="jaccard",
        code="""
def jaccard(v_images, v_captions):
    return np.array([
        1 - np.minimum(v, v_captions).sum(axis=1) / (v + v_captions).sum(axis=1) for v in v_images
    ])
""",
        loses=("test_jaccard",),
        reveals="Counts what is shared twice: no pair can then be nearer than one half.",
    ),
    Wrong(
        name="captions' table as the images' turned",
        cell="final_distances",
        code="""
def final_distances(d_j, squared, largest_of_images, largest_of_captions, lam, queries):
    final = (1 - lam) * d_j + lam * squared / largest_of_images[:, None]
    return final if queries == "images" else final.T
""",
        loses=("test_final_distances",),
        reveals="Has not seen that the distance depends on which side asks.",
        hidden_only=True,
    ),
    Wrong(
        name="duplicates before the item",
        cell="nearest",
        code="""
def nearest(squared, k):
    return squared.argsort(axis=1, kind="stable")[:, : k + 1]
""",
        loses=("test_nearest",),
        reveals="Relies on the distance 0 to tell an item from its twin; data have duplicates.",
        hidden_only=True,
    ),
    Wrong(
        name="λ the other way round",
        cell="final_distances",
        code="""
def final_distances(d_j, squared, largest_of_images, largest_of_captions, lam, queries):
    if queries == "captions":
        return lam * d_j.T + (1 - lam) * squared.T / largest_of_captions[:, None]
    return lam * d_j + (1 - lam) * squared / largest_of_images[:, None]
""",
        loses=("test_final_distances",),
        reveals="Did not check the ends: λ = 1 must be the original order.",
    ),
    Wrong(
        name="unstable order of ties",
        cell="nearest",
        code="""
def nearest(squared, k):
    own_first = squared.copy()
    np.fill_diagonal(own_first, -1)
    n = len(squared)
    order = own_first[:, ::-1].argsort(axis=1, kind="stable")
    return (n - 1 - order)[:, : k + 1]
""",
        loses=("test_nearest",),
        reveals="Leaves ties to the sorting routine: another machine gives another table.",
        hidden_only=True,
    ),
    Wrong(
        name="whom it sees, not who sees it",
        cell="reciprocal",
        code="""
def reciprocal(index):
    n = len(index)
    near = np.zeros((n, n), dtype=bool)
    near[np.arange(n)[:, None], index] = True
    return near
""",
        loses=("test_reciprocal",),
        reveals="Stops at eq. 2: nearest is not yet reciprocal.",
    ),
    Wrong(
        name="set grows while it is compared",
        cell="expanded",
        code="""
def expanded(mine, closer):
    result = mine.copy()
    for p in range(len(mine)):
        for q in np.flatnonzero(mine[p]):
            if 3 * (result[p] & closer[q]).sum() > 2 * closer[q].sum():
                result[p] |= closer[q]
    return result
""",
        loses=("test_expanded",),
        reveals="Changes what it compares with; the result depends on the order of the items.",
        hidden_only=True,
    ),
    Wrong(
        name="share of the own set",
        cell="expanded",
        code="""
def expanded(mine, closer):
    circle = closer.astype(float)
    accepted = mine & (3 * (mine @ circle.T) > 2 * mine.sum(axis=1, keepdims=True))
    return mine | (accepted @ circle > 0)
""",
        loses=("test_expanded",),
        reveals="Takes two thirds of the wrong set: the neighbour's own set must be mostly known.",
    ),
    Wrong(
        name="largest distance of the whole table",
        cell="weights",
        code="""
def weights(squared, members):
    v = np.where(members, np.exp(-squared / max(squared.max(), 1e-12)), 0)
    return v / v.sum(axis=1, keepdims=True)
""",
        loses=("test_weights",),
        reveals="One outlier then sets the scale for everybody.",
    ),
    Wrong(
        name="itself not counted",
        cell="mean_of_nearest",
        code="""
def mean_of_nearest(v, index, k2):
    return v[index[:, 1 : k2 + 1]].mean(axis=1)
""",
        loses=("test_mean_of_nearest",),
        reveals="Off by one: k2 counts the item itself, k1 does not.",
    ),
    Wrong(
        name="pairs of equal number only",
        cell="jaccard",
        code="""
def jaccard(v_images, v_captions):
    n = min(len(v_images), len(v_captions))
    a, b = v_images[:n], v_captions[:n]
    return 1 - np.minimum(a, b).sum(axis=1) / np.maximum(a, b).sum(axis=1)
""",
        loses=("test_jaccard",),
        reveals="Lets numpy pair row with row where all pairs are asked for.",
    ),
]
