"""Wrong solutions of assignment 3, rich features."""

from assignments.harness import Wrong

WRONG = [
    Wrong(
        name="wrong axis",
        cell="pool",
        code="""
def pool(stage, how):
    flat = stage.flatten(2)  # (n, channels, places)
    return flat.amax(1) if how == "max" else flat.mean(1)
""",
        loses=("test_pool",),
        reveals="Pools over channels and keeps places: axes are counted, not understood.",
    ),
    Wrong(
        name="epsilon",
        cell="unit",
        code="""
def unit(x):
    return x / (x.norm(dim=1, keepdim=True) + 1e-8)
""",
        loses=("test_unit",),
        reveals="Takes the usual epsilon for harmless: tiny vectors come out short.",
        hidden_only=True,
    ),
    Wrong(
        name="division by zero",
        cell="unit",
        code="""
def unit(x):
    return torch.nan_to_num(x / x.norm(dim=1, keepdim=True))
""",
        loses=("test_unit_zero",),
        reveals="Hides nan in the value; it is still in the gradient, where it ends the training.",
        hidden_only=True,
    ),
    Wrong(
        name="norm of parts",
        cell="rich_image",
        code="""
def rich_image(maps, max_stages, avg_stages, pool, unit):
    parts = [unit(pool(maps[number - 1], "max")) for number in max_stages]
    parts += [unit(pool(maps[number - 1], "avg")) for number in avg_stages]
    return torch.cat(parts, dim=1)
""",
        loses=("test_rich_image",),
        reveals="Mixes up eqs 2 and 6: one norm around the whole here, one for each part there.",
    ),
    Wrong(
        name="forgotten mask",
        cell="pool_words",
        code="""
def pool_words(words, lengths, how):
    if how == "max":
        return words.amax(1)
    return words.sum(1) / lengths[:, None]
""",
        loses=("test_words_avg", "test_words_max"),
        reveals="Takes padding for words: a caption's vector depends on its neighbours in a batch.",
    ),
    Wrong(
        name="mask by product",
        cell="pool_words",
        code="""
def pool_words(words, lengths, how):
    real = torch.arange(words.shape[1])[None, :] < lengths[:, None]
    kept = words * real[..., None]
    return kept.amax(1) if how == "max" else kept.sum(1) / lengths[:, None]
""",
        loses=("test_words_avg", "test_words_max"),
        reveals="Multiplies by 0: nan and inf survive, and 0 beats negative words in a maximum.",
        hidden_only=True,
    ),
    Wrong(
        name="last column",
        cell="context",
        code="""
def context(states, lengths):
    width = states.shape[2] // 2
    return states[:, -1, :width] + states[:, 0, width:]
""",
        loses=("test_context",),
        reveals="Off by the padding: the last column is the last word of the longest caption only.",
    ),
]
