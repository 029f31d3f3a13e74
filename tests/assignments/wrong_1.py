"""Wrong solutions of assignment 1, recall@K and protocols."""

from assignments.harness import Wrong

WRONG = [
    Wrong(
        name="ranks from 0",
        cell="rank",
        code="""
def rank(scores, right):
    best = scores[right].max()
    higher = (scores > best).sum()
    tied_wrong = (scores[~right] == best).sum()
    return float(higher + tied_wrong / ((scores[right] == best).sum() + 1))
""",
        loses=("test_rank", "test_rank_with_ties"),
        reveals="Off by one: counts places from 0 and then compares with `<= K`.",
    ),
    Wrong(
        name="ties always won",
        cell="rank",
        code="""
def rank(scores, right):
    return int(1 + (scores > scores[right].max()).sum())
""",
        loses=("test_rank_with_ties",),
        reveals="Has not thought about equal scores: a collapsed model would get 100 %.",
    ),
    Wrong(
        name="caption // 5",
        cell="ranks_both_ways",
        code="""
def ranks_both_ways(scores, image_of_caption, rank):
    owner = np.arange(scores.shape[1]) // 5
    right = owner[None, :] == np.arange(len(scores))[:, None]
    right[:, ~right.any(0)] = True
    right[~right.any(1)] = True
    i2t = [rank(row, mask) for row, mask in zip(scores, right)]
    t2i = [rank(column, mask) for column, mask in zip(scores.T, right.T)]
    return np.array(i2t), np.array(t2i)
""",
        loses=("test_i2t", "test_t2i"),
        reveals="Assumes five captions per image, as published code does, and ignores `OWNERS`.",
    ),
    Wrong(
        name="wrong axis",
        cell="ranks_both_ways",
        code="""
def ranks_both_ways(scores, image_of_caption, rank):
    right = image_of_caption[None, :] == np.arange(len(scores))[:, None]
    i2t = [rank(scores[i], right[i]) for i in range(len(scores))]
    t2i = [rank(scores[i], right[i]) for i in image_of_caption]
    return np.array(i2t), np.array(t2i)
""",
        loses=("test_t2i",),
        reveals="Reads rows for both directions: does not see that a caption's rivals are images.",
    ),
    Wrong(
        name="rank < K",
        cell="metrics",
        code="""
def metrics(i2t, t2i):
    result = {}
    for way, ranks in (("i2t", i2t), ("t2i", t2i)):
        for k in (1, 5, 10):
            result[f"{way}_r{k}"] = 100 * float(np.mean(ranks < k))
        result[f"{way}_medr"] = float(np.median(ranks))
    result["rsum"] = sum(result[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in (1, 5, 10))
    return result
""",
        loses=("test_recall",),
        reveals="Off by one at the other end: the K-th place belongs to the top K.",
    ),
    Wrong(
        name="captions by position",
        cell="mean_over_folds",
        code="""
def mean_over_folds(scores, image_of_caption, n_folds, evaluate):
    images, captions = scores.shape[0] // n_folds, scores.shape[1] // n_folds
    results = []
    for fold in range(n_folds):
        columns = slice(fold * captions, (fold + 1) * captions)
        part = scores[fold * images : (fold + 1) * images, columns]
        results.append(evaluate(part, image_of_caption[columns] - fold * images))
    return {name: float(np.mean([each[name] for each in results])) for name in results[0]}
""",
        loses=("test_folds",),
        reveals="Cuts captions like images: right only while they are sorted and five each.",
        hidden_only=True,
    ),
    Wrong(
        name="one right answer",
        cell="chance",
        code="""
def chance(k, n_items, n_right):
    return min(k, n_items) / n_items
""",
        loses=("test_chance",),
        reveals="Fits the visible examples only, or forgets that an image has several captions.",
        hidden_only=True,
    ),
]
