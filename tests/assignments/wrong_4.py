"""Plausible wrong solutions of assignment 4, cross-attention."""

from assignments.harness import Wrong

WRONG = [
    Wrong(
        name="regions' mask forgotten",
        cell="attention",
        code="""
def attention(s, region_mask, word_mask, smooth):
    clipped = leaky_relu(s, 0.1).masked_fill(~word_mask[None, :, None, :], 0)
    even = clipped / clipped.norm(dim=3, keepdim=True).clamp(min=1e-8)
    return (smooth * even).softmax(dim=2)
""",
        loses=("test_attention_padding", "test_scan_scores"),
        reveals="Thinks of one image at a time: in a batch, padding takes its share of a softmax.",
    ),
    Wrong(
        name="padded words in the norm",
        cell="attention",
        code="""
def attention(s, region_mask, word_mask, smooth):
    clipped = leaky_relu(s, 0.1)
    even = clipped / clipped.norm(dim=3, keepdim=True).clamp(min=1e-8)
    logits = (smooth * even).masked_fill(~region_mask[:, None, :, None], float("-inf"))
    return logits.softmax(dim=2)
""",
        loses=("test_attention_padding", "test_scan_scores"),
        reveals="Masks where a softmax is, and nowhere else: sums of squares have padding, too.",
        hidden_only=True,
    ),
    Wrong(
        name="softmax over the words",
        cell="attention",
        code="""
def attention(s, region_mask, word_mask, smooth):
    clipped = leaky_relu(s, 0.1).masked_fill(~word_mask[None, :, None, :], 0)
    even = clipped / clipped.norm(dim=3, keepdim=True).clamp(min=1e-8)
    logits = (smooth * even).masked_fill(~word_mask[None, :, None, :], float("-inf"))
    return logits.softmax(dim=3)
""",
        loses=("test_attention", "test_attention_padding", "test_scan_scores"),
        reveals="Does not know who looks at whom: the direction is an axis.",
    ),
    Wrong(
        name="lengths left out",
        cell="attended_cosines",
        code="""
def attended_cosines(weights, regions, words):
    attended = torch.einsum("nmkl,nkd->nmld", weights, regions)
    return (attended * words).sum(dim=3)
""",
        loses=("test_attended_cosines",),
        reveals="Takes a mean of unit vectors for a unit vector: mixtures are shorter.",
    ),
    Wrong(
        name="mean over the padded length",
        cell="pool",
        code="""
def pool(cosines, word_mask, how, sharpness=6.0):
    if how == "AVG":
        return cosines.masked_fill(~word_mask, 0).mean(dim=2)
    real = cosines.masked_fill(~word_mask, float("-inf"))
    return torch.logsumexp(sharpness * real, dim=2) / sharpness
""",
        loses=("test_pool_avg", "test_scan_scores"),
        reveals="Masks the sum and forgets the count: a score then depends on its batch.",
    ),
    Wrong(
        name="maximum for log-sum-exp",
        cell="pool",
        code="""
def pool(cosines, word_mask, how, sharpness=6.0):
    if how == "AVG":
        return cosines.masked_fill(~word_mask, 0).sum(dim=2) / word_mask.sum(dim=1)
    return cosines.masked_fill(~word_mask, float("-inf")).amax(dim=2)
""",
        loses=("test_pool_lse", "test_scan_scores"),
        reveals="Knows the limit instead of the formula: every word has some say in LSE.",
    ),
    Wrong(
        name="length cut off from the gradient",
        cell="gram_cosines",
        code="""
def gram_cosines(weights, s, gram, word_lengths):
    along = (weights * s).sum(dim=2)
    with torch.no_grad():  # lengths are only numbers
        mixed = torch.einsum("nik,nmkl->nmil", gram, weights)
        lengths = (weights * mixed).sum(dim=2).clamp(min=1e-16).sqrt() * word_lengths
    return along / lengths.clamp(min=1e-8)
""",
        loses=("test_gram_gradient",),
        reveals="Looks at values only: a model trained with it learns something else.",
        hidden_only=True,
    ),
    Wrong(
        name="the two numbers of the example",
        cell="numbers_kept",
        code="""
def numbers_kept(n, m, k, l, d):
    return 16, 18
""",
        loses=("test_numbers_kept",),
        reveals="Programs until the visible test is green.",
        hidden_only=True,
    ),
]
