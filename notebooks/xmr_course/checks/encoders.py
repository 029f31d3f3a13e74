"""Checks of the exercises on rich image and text representations (RFE §III-A and §III-B)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xmr_course.checks import call, fail, passed, same
from xmr_lib.encoders import image, text
from xmr_lib.encoders.backbone import pool_stages
from xmr_lib.similarity import l2norm


def rich_image_features(function: Callable[[tuple[Tensor, ...]], Tensor]) -> None:
    """Checks RFE eq. 2 from the maps themselves.

    Args:
        function: Takes the maps C1…C4, each `(n, channels_i, height_i, width_i)`, and returns
            `I_fea`, `(n, channels_1 + … + channels_4 + channels_4)`.

    Raises:
        CheckFailed: It is wrong; the message says where and, for typical mistakes, why.
    """
    name = "rich_image_features"
    generator = torch.Generator().manual_seed(3)
    cases = []
    for n, channels, sizes in (
        (2, (2, 3, 4, 5), (8, 4, 2, 2)),
        (1, (1, 1, 1, 1), (2, 2, 2, 2)),
        (3, (4, 2, 3, 2), (6, 5, 4, 3)),
    ):
        maps = tuple(
            torch.randn(n, c, h, h + 1, generator=generator) * 10.0 ** (2 - stage)
            for stage, (c, h) in enumerate(zip(channels, sizes, strict=True))
        )
        cases.append((maps, channels))
    for maps, channels in cases:
        right = image.rich_image_features(pool_stages(maps), channels)
        result = call(name, function, tuple(m.clone() for m in maps))
        _explain(name, result, right, _wrong_image_features(maps))
    passed(name, len(cases))


def _wrong_image_features(maps: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """What typical mistakes give instead of eq. 2, by the hint that explains them."""
    largest = [m.amax((2, 3)) for m in maps]
    average = [m.mean((2, 3)) for m in maps]
    joined = torch.cat([*largest, average[3]], dim=1)
    wrong = {
        "The vectors are not normalised: eq. 2 divides the joined vector by its length.": joined,
        "Each part has length one, so the whole has √5: eq. 2 joins first and normalises once.": (
            torch.cat([l2norm(part) for part in (*largest, average[3])], dim=1)
        ),
        "Average-pooled C4 is missing: it is the last part of eq. 2.": l2norm(
            torch.cat(largest, dim=1)
        ),
        "Average-pooled C4 comes last in eq. 2; here it comes first.": l2norm(
            torch.cat([average[3], *largest], dim=1)
        ),
        "C1…C4 are average-pooled here; eq. 2 takes their maximum (and C4's average besides).": (
            l2norm(torch.cat([*average, average[3]], dim=1))
        ),
        "Max and average are swapped: eq. 2 has the maximum of all stages, the average of C4.": (
            l2norm(torch.cat([*average, largest[3]], dim=1))
        ),
        "C4's maximum stands there twice; the last part of eq. 2 is C4's average.": l2norm(
            torch.cat([*largest, largest[3]], dim=1)
        ),
        "This divides by the sum of absolute values (L1); Norm_L2 is the Euclidean length.": (
            joined / joined.abs().sum(1, keepdim=True)
        ),
        "The sums run over the images of the batch: normalise each row (dim=1), not columns.": (
            l2norm(joined, dim=0)
        ),
        "The whole batch is divided by one number: each image needs its own length (dim=1).": (
            joined / joined.norm()
        ),
    }
    return wrong


def pool_words(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Checks the masked average of word embeddings, `Pool_avg(Emb)` of RFE eq. 6.

    What stands behind a caption's last word is garbage here, even not-a-number, as it may be in a
    buffer that nobody has cleared.

    Args:
        function: Takes words `(n, n_words, d)` and a mask `(n, n_words)`, True on real words, and
            returns `(n, d)`.

    Raises:
        CheckFailed: It is wrong; the message says where and, for typical mistakes, why.
    """
    name = "pool_words"
    generator = torch.Generator().manual_seed(4)
    cases = [
        (torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]), torch.tensor([2])),  # no padding
        (torch.randn(3, 5, 4, generator=generator), torch.tensor([5, 2, 1])),
        (torch.randn(2, 6, 3, generator=generator), torch.tensor([1, 4])),
    ]
    for words, lengths in cases:
        mask = text.word_mask(lengths, words.shape[1])
        right = text.pool_words(words, mask)
        result = call(name, function, words.clone(), mask.clone())
        _explain(name, result, right, _wrong_word_pools(words, mask))
    words, lengths = cases[1]
    mask = text.word_mask(lengths, words.shape[1])
    broken = words.masked_fill(~mask[..., None], float("nan"))
    result = call(name, function, broken, mask)
    if not same(result, text.pool_words(words, mask)):
        fail(
            name,
            "padding that holds not-a-number gets into the result.",
            "0 · nan is nan: replace padding by zeros (`masked_fill` or `torch.where`) instead of "
            "multiplying by the mask.",
        )
    passed(name, len(cases) + 1)


def _wrong_word_pools(words: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What typical mistakes give instead of the masked average."""
    clean = words.masked_fill(~mask[..., None], 0)
    count = mask.sum(1, keepdim=True)
    return {
        "Padding is counted: the average runs over all columns, real or not.": words.mean(1),
        "Padding is left out of the sum, but still counted when dividing: divide by the number "
        "of real words.": clean.mean(1),
        "This is the sum of the words; divide it by their number.": clean.sum(1),
        "The mask is upside down: it is True on real words.": (
            words.masked_fill(mask[..., None], 0).sum(1) / (~mask).sum(1, keepdim=True).clamp(min=1)
        ),
        "This is max pooling; eq. 6 averages.": text.pool_words(words, mask, "max"),
        "The average runs over the numbers of each embedding (dim=2) instead of its words "
        "(dim=1).": clean.mean(2),
        "One number of words divides the whole batch: each caption has its own.": (
            clean.sum(1) / count.sum()
        ),
        "Every caption is divided by the length of the longest: each has its own.": (
            clean.sum(1) / count.max()
        ),
    }


def rich_text_features(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Checks RFE eq. 6 from a bi-GRU's final states and the pooled words.

    Args:
        function: Takes the final states as `torch.nn.GRU` returns them, `(2, n, rnn_dim)`, forward
            first, and the pooled words `(n, word_dim)`; returns `T_fea`, `(n, rnn_dim + word_dim)`.

    Raises:
        CheckFailed: It is wrong; the message says where and, for typical mistakes, why.
    """
    name = "rich_text_features"
    generator = torch.Generator().manual_seed(5)
    cases = [
        (torch.tensor([[[1.0, 4.0]], [[2.0, 0.0]]]), torch.tensor([[0.0, 2.0, 0.0]])),
        (torch.randn(2, 4, 3, generator=generator), torch.randn(4, 2, generator=generator)),
        (torch.randn(2, 3, 5, generator=generator), torch.randn(3, 5, generator=generator) / 50),
    ]
    for final, words in cases:
        right = text.rich_text_features(final[0] + final[1], words)
        result = call(name, function, final.clone(), words.clone())
        _explain(name, result, right, _wrong_text_features(final, words))
    passed(name, len(cases))


def _wrong_text_features(final: Tensor, words: Tensor) -> dict[str, Tensor]:
    """What typical mistakes give instead of eq. 6."""
    forward, backward = final
    total = forward + backward
    both = torch.cat([total, words], dim=1)
    return {
        "Nothing is normalised: eq. 6 gives each of the two parts length one.": both,
        "The joined vector is normalised (that is `norm='after'`, as the paper's text has it); "
        "eq. 6 normalises each part first.": l2norm(both),
        "The joined vector is normalised once more after its parts; eq. 6 leaves it at √2.": l2norm(
            torch.cat([l2norm(total), l2norm(words)], dim=1)
        ),
        "Only the forward state is used: add the backward one.": text.rich_text_features(
            forward, words
        ),
        "Only the backward state is used: add the forward one.": text.rich_text_features(
            backward, words
        ),
        "The two directions stand side by side; eq. 6 adds them.": text.rich_text_features(
            torch.cat([forward, backward], dim=1), words
        ),
        "Each direction is normalised before the sum: eq. 6 adds first. The longer state should "
        "weigh more.": text.rich_text_features(l2norm(forward) + l2norm(backward), words),
        "The words come second in eq. 6; here they come first.": torch.cat(
            [l2norm(words), l2norm(total)], dim=1
        ),
        "The GRU's part is normalised, the words are not.": torch.cat([l2norm(total), words], 1),
        "The words are normalised, the GRU's part is not.": torch.cat([total, l2norm(words)], 1),
        "The sums run over the captions of the batch: normalise each row (dim=1), not columns.": (
            torch.cat([l2norm(total, dim=0), l2norm(words, dim=0)], dim=1)
        ),
    }


def _explain(name: str, result: object, right: Tensor, wrong: dict[str, Tensor]) -> None:
    """Accepts the right answer, else fails with the hint of the mistake that gives this answer."""
    try:
        result = torch.as_tensor(result)
    except (TypeError, ValueError, RuntimeError):
        fail(name, f"returned {type(result).__name__}.", "Return one tensor.")
    if same(result, right):
        return
    hints = [hint for hint, answer in wrong.items() if same(result, answer)]
    hint = hints[0] if hints else ""
    if result.shape != right.shape:
        what = f"the shape is {tuple(result.shape)} and should be {tuple(right.shape)}."
        if not hint and result.squeeze().shape == right.squeeze().shape:
            hint = "Only dimensions of size 1 differ: take them away (or keep them) where you pool."
        fail(name, what, hint)
    if torch.isnan(result).any():
        fail(name, "the result holds not-a-number.", hint)
    row = int((result.double() - right.double()).abs().flatten(1).amax(1).argmax())
    fail(
        name,
        f"row {row} is {_numbers(result[row])} and should be {_numbers(right[row])}.",
        hint,
    )


def _numbers(vector: Tensor) -> str:
    """The first numbers of a vector, short enough for a message."""
    shown = ", ".join(f"{x:.3g}" for x in vector.flatten()[:6].tolist())
    return f"[{shown}{', …' if vector.numel() > 6 else ''}]"
