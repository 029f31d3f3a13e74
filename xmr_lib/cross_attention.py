"""SCAN's stacked cross attention (Lee et al. 2018, §3), exact and without its memory.

An image is compared with a caption part by part. In the direction `t-i` every word looks at all
regions, gathers those that fit it into one attended vector, and is compared with that; `i-t` is
the same with every region looking at all words. Whoever looks is called a *query* here, what is
looked at the *context*:

    direction   queries    context
    t-i         words      regions
    i-t         regions    words

What makes it cheap: the attended vector of query q is v = sum_k a_k c_k, and of it only the cosine
with q is wanted,

    cos(q, v) = sum_k a_k (q·c_k)  /  ( |q| sqrt(aᵀ G a) ),    G = the context's Gram matrix.

The products q·c_k are there already, because the attention `a` was made from them, and G is as
small as a context has parts. So nothing of the size (queries × d) is ever made for a pair, in
either direction, and the result is the same number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu
from torch.utils.checkpoint import checkpoint

from xmr_lib.similarity import Parts

Direction = Literal["t-i", "i-t"]
Pooling = Literal["AVG", "LSE", "MAX", "SUM"]
ScoreNorm = Literal[
    "clipped_l2norm", "l2norm", "clipped_l1norm", "l1norm", "clipped", "softmax", "no_norm"
]

EPS = 1e-8  # SCAN adds it to norms, and lets no product of two lengths fall below it


@dataclass(frozen=True)
class CrossAttention:
    """One of SCAN's variants.

    Attributes:
        direction: "t-i": words look at regions; "i-t": regions look at words.
        pooling: How the cosines of all queries become one score: "AVG", "LSE" (log-sum-exp), "MAX"
            or "SUM".
        smooth: λ1, inverse temperature of the attention.
        lse: λ2, sharpness of "LSE".
        norm: What happens to the products before the attention's softmax; the default is what
            SCAN's code runs with (its paper writes ReLU for the leaky ReLU).
    """

    direction: Direction = "t-i"
    pooling: Pooling = "AVG"
    smooth: float = 9.0
    lse: float = 6.0
    norm: ScoreNorm = "clipped_l2norm"


def attention_logits(
    products: Tensor, norm: ScoreNorm, smooth: float = 1.0, padding: Tensor | None = None
) -> Tensor:
    """Products of context and queries, evened out over the queries (SCAN §3.1: λ1 times `s` bar).

    Every part of the context divides its attention among the queries: a region that resembles all
    words of a caption is no evidence for any of them.

    Args:
        products: `(n_contexts, n_context_parts, n_query_parts, n_queries)`; 0 where a query part
            is padding.
        norm: "clipped_l2norm": leaky ReLU (slope 0.1), then divided by the Euclidean norm over the
            queries' parts; "l1norm" likewise with the sum of absolute values; without "clipped_"
            no ReLU; "softmax" over the queries' parts; "clipped": ReLU only; "no_norm": nothing.
        smooth: λ1.
        padding: True where a query part is padding, `(n_query_parts, n_queries)`; None: nowhere.

    >>> products = torch.tensor([3.0, -40.0]).view(1, 1, 2, 1)
    >>> attention_logits(products, "clipped_l2norm").flatten()
    tensor([ 0.6000, -0.8000])
    """
    if norm == "softmax":
        if padding is not None:
            products = products.masked_fill(padding, float("-inf"))
        return smooth * products.softmax(2)
    if norm.startswith("clipped"):
        products = leaky_relu(products, 0.1)
    # One factor for norm and λ1: far smaller than the products, which are then passed over once.
    if norm.endswith("l2norm"):
        return products * (smooth / (_root(products.square().sum(2, keepdim=True)) + EPS))
    if norm.endswith("l1norm"):
        return products * (smooth / (products.abs().sum(2, keepdim=True) + EPS))
    return smooth * products


def attention_weights(
    products: Tensor,
    how: CrossAttention,
    context_padding: Tensor | None = None,
    query_padding: Tensor | None = None,
) -> Tensor:
    """How much of each part of the context every query takes (SCAN §3.1, α): they add up to one.

    Args:
        products: `(n_contexts, n_context_parts, n_query_parts, n_queries)`.
        how: Gives `norm` and `smooth`.
        context_padding: True where a context's part is padding, `(n_contexts, n_context_parts)`.
        query_padding: True where a query's part is padding, `(n_query_parts, n_queries)`.

    Returns:
        The shape of the products; 0 on the context's padding.
    """
    logits = attention_logits(products, how.norm, how.smooth, query_padding)
    if context_padding is not None:
        logits = logits.masked_fill(context_padding[:, :, None, None], float("-inf"))
    return logits.softmax(1)


def attended_cosines(
    weights: Tensor, products: Tensor, gram: Tensor, query_lengths: Tensor
) -> Tensor:
    """Cosine of each query with its attended vector (SCAN §3.1, `R`), by the Gram matrix.

    Args:
        weights: Attention, `(n_contexts, n_context_parts, n_query_parts, n_queries)`.
        products: Products of context and queries, the same shape.
        gram: Products of each context's parts among themselves, `(n_contexts, n_context_parts,
            n_context_parts)`.
        query_lengths: Euclidean length of each query, `(n_query_parts, n_queries)`.

    Returns:
        `(n_contexts, n_query_parts, n_queries)`; 0 where a query or its attended vector is zero.
    """
    along = (weights * products).sum(1)  # q · v
    mixed = torch.bmm(gram, weights.flatten(2)).view_as(weights)  # G a
    attended_lengths = _root((weights * mixed).sum(1), EPS)  # |v| = sqrt(aᵀ G a)
    return along / (query_lengths * attended_lengths).clamp(min=EPS)


def pool_cosines(
    cosines: Tensor, pooling: Pooling, lse: float = 6.0, padding: Tensor | None = None
) -> Tensor:
    """One score from the cosines of all queries' parts (SCAN §3.1, `S_LSE` and `S_AVG`).

    Args:
        cosines: `(n_contexts, n_query_parts, n_queries)`.
        pooling: "AVG" mean, "LSE" log(sum exp(λ2 r)) / λ2, "MAX" or "SUM".
        lse: λ2.
        padding: True where a query's part is padding, `(n_query_parts, n_queries)`.

    Returns:
        `(n_contexts, n_queries)`.

    >>> pool_cosines(torch.tensor([0.2, 0.6]).view(1, 2, 1), "AVG")
    tensor([[0.4000]])
    """
    real = cosines.shape[1] if padding is None else (~padding).sum(0)
    if padding is not None:
        nothing = 0.0 if pooling in ("AVG", "SUM") else float("-inf")
        cosines = cosines.masked_fill(padding, nothing)
    if pooling == "LSE":
        return (lse * cosines).logsumexp(1) / lse
    if pooling == "MAX":
        return cosines.amax(1)
    return cosines.sum(1) / (real if pooling == "AVG" else 1)


def cross_attention_scores(images: Parts, captions: Parts, how: CrossAttention) -> Tensor:
    """SCAN's similarity of every image with every caption.

    Works through blocks of pairs, so that memory beyond the result stays the same however many
    there are. With gradients, a block keeps its products only and computes the rest again on the
    way back.

    Args:
        images: Regions, as a rule unit vectors.
        captions: Words in the same space.
        how: Direction, pooling and the numbers that go with them.

    Returns:
        `(n_images, n_captions)` in the parts' precision (float32 under mixed precision: sums over
        many small weights are not for bfloat16).

    >>> images = Parts(torch.eye(2), torch.tensor([0, 1, 2]))  # two images of one region
    >>> captions = Parts(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([0, 2]))
    >>> cross_attention_scores(images, captions, CrossAttention("t-i", "AVG"))
    tensor([[0.8000],
            [0.4000]])
    """
    images_look = how.direction == "i-t"
    as_images, as_captions = (_Queries, _Contexts) if images_look else (_Contexts, _Queries)
    with torch.autocast(images.flat.device.type, enabled=False):
        image_order, caption_order = _by_length(images), _by_length(captions)
        image_runs = _runs(images.lengths, image_order, as_images.parts_at_once)
        blocks = [as_images.of(images[run]) for run in image_runs]
        columns = []
        for run in _runs(captions.lengths, caption_order, as_captions.parts_at_once):
            block = as_captions.of(captions[run])
            if images_look:
                column = [_score_block(block, each, how).T for each in blocks]
            else:
                column = [_score_block(each, block, how) for each in blocks]
            columns.append(torch.cat(column))
        scores = torch.cat(columns, dim=1)
    if image_order is not None:
        scores = scores[image_order.argsort().to(scores.device)]
    if caption_order is not None:
        scores = scores[:, caption_order.argsort().to(scores.device)]
    return scores


def attention_map(image: Tensor, caption: Tensor, how: CrossAttention) -> tuple[Tensor, Tensor]:
    """What one image and one caption see in each other, to be drawn.

    Args:
        image: Regions of the image, `(n_regions, d)`.
        caption: Words of the caption, `(n_words, d)`.
        how: The variant.

    Returns:
        Attention weights `(n_words, n_regions)`, which add up to one over the regions for "t-i"
        and over the words for "i-t"; and the cosine of each query with what it attends to,
        `(n_words,)` for "t-i", `(n_regions,)` for "i-t".
    """
    context, query = (image, caption) if how.direction == "t-i" else (caption, image)
    products = (context @ query.T)[None, :, :, None]  # (1, n_context_parts, n_query_parts, 1)
    weights = attention_weights(products, how)
    lengths = torch.linalg.vector_norm(query, dim=1)[:, None]
    cosines = attended_cosines(weights, products, (context @ context.T)[None], lengths)
    drawn = weights[0, :, :, 0]
    return (drawn.T if how.direction == "t-i" else drawn), cosines[0, :, 0]


@dataclass(frozen=True)
class _Contexts:
    """A block of what is looked at."""

    parts: Tensor  # (n_contexts, n_context_parts, d)
    gram: Tensor  # (n_contexts, n_context_parts, n_context_parts)
    padding: Tensor | None  # (n_contexts, n_context_parts)

    parts_at_once = 350

    @classmethod
    def of(cls, contexts: Parts) -> _Contexts:
        parts, padding = _padded(contexts)
        return cls(parts, parts @ parts.transpose(1, 2), padding)


@dataclass(frozen=True)
class _Queries:
    """A block of what looks, laid out so that everything below runs along many items at once."""

    flat: Tensor  # (n_query_parts * n_queries, d): all first parts, all second parts, …
    lengths: Tensor  # (n_query_parts, n_queries), Euclidean
    padding: Tensor | None  # (n_query_parts, n_queries)

    parts_at_once = 2800

    @classmethod
    def of(cls, queries: Parts) -> _Queries:
        parts, padding = _padded(queries)
        parts = parts.transpose(0, 1)  # (n_query_parts, n_queries, d)
        lengths = torch.linalg.vector_norm(parts, dim=2)
        return cls(parts.flatten(0, 1), lengths, None if padding is None else padding.T)


def _score_block(contexts: _Contexts, queries: _Queries, how: CrossAttention) -> Tensor:
    """Scores of some contexts with some queries, `(n_contexts, n_queries)`."""
    products = contexts.parts.flatten(0, 1) @ queries.flat.T
    products = products.view(*contexts.parts.shape[:2], *queries.lengths.shape)
    given = products, contexts.gram, queries.lengths, contexts.padding, queries.padding, how
    if products.requires_grad:
        return checkpoint(_score_products, *given, use_reentrant=False, preserve_rng_state=False)
    return _score_products(*given)


def _score_products(
    products: Tensor,
    gram: Tensor,
    query_lengths: Tensor,
    context_padding: Tensor | None,
    query_padding: Tensor | None,
    how: CrossAttention,
) -> Tensor:
    weights = attention_weights(products, how, context_padding, query_padding)
    cosines = attended_cosines(weights, products, gram, query_lengths)
    return pool_cosines(cosines, how.pooling, how.lse, query_padding)


def _by_length(parts: Parts) -> Tensor | None:
    """Items in ascending order of length; None where all are equally long."""
    lengths = parts.lengths
    return None if (lengths == lengths[0]).all() else lengths.argsort(stable=True)


def _runs(lengths: Tensor, order: Tensor | None, most_parts: int) -> Iterator[slice | Tensor]:
    """Cuts items into runs of similar length that hold so many parts at most, one item at least.

    A run counts what it will have once it is padded to its longest item. Where more than a fifth
    of a run would be padding, it ends early, unless it is too small to be worth a block.
    """
    ascending = (lengths if order is None else lengths[order]).tolist()
    first = real = 0
    for last, length in enumerate(ascending):
        padded = (last - first + 1) * length
        wasteful = padded > most_parts / 4 and padded > 1.25 * (real + length)
        if last > first and (padded > most_parts or wasteful):
            yield slice(first, last) if order is None else order[first:last]
            first, real = last, 0
        real += length
    yield slice(first, len(ascending)) if order is None else order[first:]


def _padded(parts: Parts) -> tuple[Tensor, Tensor | None]:
    """`(n, longest, d)` in full precision and where it is padding; None where nothing is."""
    padded, lengths = parts.padded()
    longest = padded.shape[1]
    padded = padded if padded.dtype == torch.float64 else padded.float()
    if (lengths == longest).all():
        return padded, None
    return padded, (torch.arange(longest) >= lengths[:, None]).to(padded.device)


def _root(squares: Tensor, least: float = 1e-15) -> Tensor:
    """Square root, no smaller than `least`; below that its gradient is zero and not infinite."""
    return squares.clamp(min=least**2).sqrt()
