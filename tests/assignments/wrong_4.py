"""Plausible wrong solutions of assignment 4, cross-attention."""

from assignments.harness import Wrong

WRONG = [
    Wrong(
        name="regions' mask forgotten",
        cell="attention",
        code="""
def attention(s, region_mask, word_mask, smooth):
    clipped = torch.nn.functional.leaky_relu(s, 0.1).masked_fill(~word_mask[None, :, None, :], 0)
    even = clipped / clipped.norm(dim=3, keepdim=True).clamp(min=1e-8)
    return (smooth * even).softmax(dim=2)
""",
        loses=("test_attention_padding", "test_scan_scores"),
        reveals="Thinks of one image at a time: in a batch, padding takes a share of the softmax.",
    ),
    Wrong(
        name="padded words in the norm",
        cell="attention",
        code="""
def attention(s, region_mask, word_mask, smooth):
    clipped = torch.nn.functional.leaky_relu(s, 0.1)
    even = clipped / clipped.norm(dim=3, keepdim=True).clamp(min=1e-8)
    logits = (smooth * even).masked_fill(~region_mask[:, None, :, None], float("-inf"))
    return logits.softmax(dim=2)
""",
        loses=("test_attention_padding", "test_scan_scores"),
        reveals="Masks only the softmax: sums of squares contain padding, too.",
        hidden_only=True,
    ),
    Wrong(
        name="softmax over the words",
        cell="attention",
        code="""
def attention(s, region_mask, word_mask, smooth):
    clipped = torch.nn.functional.leaky_relu(s, 0.1).masked_fill(~word_mask[None, :, None, :], 0)
    even = clipped / clipped.norm(dim=3, keepdim=True).clamp(min=1e-8)
    logits = (smooth * even).masked_fill(~word_mask[None, :, None, :], float("-inf"))
    return logits.softmax(dim=3)
""",
        loses=("test_attention", "test_attention_padding", "test_scan_scores"),
        reveals="Does not see that the direction of attention decides the axis of the softmax.",
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
        reveals="Uses the limit instead of the formula: every word contributes to LSE.",
    ),
    Wrong(
        name="words before regions",
        cell="products",
        code="""
def products(regions, words):
    return torch.einsum("nkd,mld->nmlk", regions, words)
""",
        loses=("test_products", "test_scan_scores"),
        reveals="Does not fix the order of axes first: all later tasks would be transposed.",
    ),
    Wrong(
        name="padding set to 0 before the softmax",
        cell="attention",
        code="""
def attention(s, region_mask, word_mask, smooth):
    clipped = torch.nn.functional.leaky_relu(s, 0.1).masked_fill(~word_mask[None, :, None, :], 0)
    even = clipped / clipped.norm(dim=3, keepdim=True).clamp(min=1e-8)
    return (smooth * even).masked_fill(~region_mask[:, None, :, None], 0).softmax(dim=2)
""",
        loses=("test_attention_padding", "test_scan_scores"),
        reveals="Takes exp(0) for 0: a mask belongs to the operation that follows it.",
    ),
    Wrong(
        name="plain ReLU",
        cell="attention",
        code="""
def attention(s, region_mask, word_mask, smooth):
    clipped = s.clamp(min=0).masked_fill(~word_mask[None, :, None, :], 0)
    even = clipped / clipped.norm(dim=3, keepdim=True).clamp(min=1e-8)
    logits = (smooth * even).masked_fill(~region_mask[:, None, :, None], float("-inf"))
    return logits.softmax(dim=2)
""",
        loses=("test_attention", "test_attention_padding", "test_scan_scores"),
        reveals="Follows SCAN's paper where the task (and SCAN's code) says leaky ReLU.",
        hidden_only=True,
    ),
    Wrong(
        name="only the diagonal of the Gram matrix",
        cell="gram_cosines",
        code="""
def gram_cosines(weights, s, gram, word_lengths):
    diagonal = gram.diagonal(dim1=1, dim2=2)[:, None, :, None]
    lengths = (weights.square() * diagonal).sum(dim=2).clamp(min=1e-16).sqrt() * word_lengths
    return (weights * s).sum(dim=2) / lengths.clamp(min=1e-8)
""",
        loses=("test_gram_values", "test_gram_gradient", "test_scan_scores"),
        reveals="Adds up squared lengths: holds only for regions that have nothing in common.",
    ),
    Wrong(
        name="root forgotten",
        cell="gram_cosines",
        code="""
def gram_cosines(weights, s, gram, word_lengths):
    mixed = torch.einsum("nik,nmkl->nmil", gram, weights)
    lengths = (weights * mixed).sum(dim=2) * word_lengths
    return (weights * s).sum(dim=2) / lengths.clamp(min=1e-8)
""",
        loses=("test_gram_values", "test_gram_gradient", "test_scan_scores"),
        reveals="Takes aᵀGa for a length; it is a squared one.",
    ),
    Wrong(
        name="exp of everything",
        cell="pool",
        code="""
def pool(cosines, word_mask, how, sharpness=6.0):
    real = word_mask.to(cosines.dtype)
    if how == "AVG":
        return (cosines * real).sum(dim=2) / real.sum(dim=1)
    return ((sharpness * cosines).exp() * real).sum(dim=2).log() / sharpness
""",
        loses=("test_pool_lse",),
        reveals="Writes the formula as printed and trusts floating point: exp(180) is infinite.",
        hidden_only=True,
    ),
    Wrong(
        name="i-t without swapping",
        cell="scan_scores",
        code="""
def scan_scores(
    regions, region_mask, words, word_mask, direction, how="AVG", smooth=9.0, sharpness=6.0
):
    s = products(regions, words)
    weights = attention(s, region_mask, word_mask, smooth)
    gram = regions @ regions.transpose(1, 2)
    return pool(gram_cosines(weights, s, gram, words.norm(dim=2)), word_mask, how, sharpness)
""",
        loses=("test_scan_scores",),
        reveals="Has not understood that the direction says which side attends.",
        hidden_only=True,
    ),
]
