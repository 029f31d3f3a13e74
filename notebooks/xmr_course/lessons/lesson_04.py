"""Lesson 04: rich text representation. Padding, the bi-GRU's states, and RFE eq. 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.patches import Rectangle
from torch import Tensor

from xmr_course.lessons.checking import Check
from xmr_course.lessons.drawing import draw_bars, legend_outside, panels, styled
from xmr_course.lessons.drawing import plot_shares as plot_shares
from xmr_lib.encoders import text
from xmr_lib.figures import BLACK, GREY, PALETTE, Picture
from xmr_lib.similarity import l2norm


@styled
def plot_token_batch(words: Sequence[Sequence[str]], numbers: Any) -> Picture:
    """Captions of a batch as a table of words and their numbers; padding is hatched.

    Args:
        words: Words of each caption, with its start and end marks.
        numbers: Word numbers, padded, `(n, longest)`.
    """
    numbers = np.asarray(numbers)
    rows, columns = numbers.shape
    figure, axes = panels(0.95 * columns + 0.3, 0.62 * rows + 0.2)
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.axis("off")
    for row, column in np.ndindex(rows, columns):
        real = column < len(words[row])
        fill = "#E8F1F8" if real else "#EEEEEE"
        look = {"edgecolor": GREY, "linewidth": 0.8, "hatch": "" if real else "////"}
        corner = column + 0.04, row + 0.08
        axes.add_patch(Rectangle(corner, 0.92, 0.84, facecolor=fill, **look))
        look = {"ha": "center", "va": "center", "parse_math": False}
        look["bbox"] = None if real else {"facecolor": fill, "linewidth": 0, "pad": 1}
        label, colour = (words[row][column], BLACK) if real else ("<pad>", GREY)
        axes.text(column + 0.5, row + 0.38, label, fontsize=9, color=colour, **look)
        axes.text(
            column + 0.5, row + 0.72, f"{numbers[row, column]}", fontsize=7.5, color=GREY, **look
        )
    return figure


@styled
def plot_states(words: Sequence[str], states: Mapping[str, Tensor], units: int = 40) -> Picture:
    """GRU states word by word, and how near each is to the state that counts in the end.

    Args:
        words: The caption's words, with its start and end marks.
        states: Direction -> states `(n_words, rnn_dim)`, in the order of the words. A direction
            called "backward" read them from the last to the first.
        units: How many of a state's numbers to draw.
    """
    figure, grid = panels(0.82 * len(words) + 1.2, 2.4 * len(states), len(states), 1, squeeze=False)
    strongest = max(each[:, :units].abs().quantile(0.98).item() for each in states.values())
    for axes, (direction, each) in zip(grid[:, 0], states.items(), strict=True):
        backward = direction == "backward"
        near = torch.nn.functional.cosine_similarity(each, each[[0 if backward else -1]], dim=1)
        sns.heatmap(
            each[:, :units].T.numpy(),
            cmap="PuOr",
            center=0,
            vmin=-strongest,
            vmax=strongest,
            yticklabels=False,
            ax=axes,
            cbar_kws={"extend": "both", "label": "value of the unit"},
        )
        arrow = "←  reads this way" if backward else "reads this way  →"
        axes.set(title=f"{direction}   {arrow}", ylabel=f"{units} units")
        labels = [f"{word}\n{value:.2f}" for word, value in zip(words, near, strict=True)]
        axes.set_xticks(np.arange(len(words)) + 0.5, labels, fontsize=9, parse_math=False)
        axes.get_xticklabels()[0 if backward else -1].set_fontweight("bold")
    axes.set_xlabel("word, and cosine of the state there with the final state (bold)")
    return figure


@styled
def plot_leave_one_out(words: Sequence[str], moved: Mapping[str, Sequence[float]]) -> Picture:
    """How far a sentence's embedding moves when a word is left out.

    `moved`: model -> 1 - cosine of the embedding with and without each word.
    """
    figure, axes = panels(max(6.5, 1.05 * len(words)), 3.2)
    draw_bars(axes, words, moved)
    axes.set(ylabel="1 − cosine", title="How far the embedding moves when a word is left out")
    return figure


@styled
def plot_word_order(
    pairs: Sequence[tuple[str, str]], cosines: Mapping[str, Sequence[float]]
) -> Picture:
    """Similarity of two sentences of the same words in another order, one row for each pair."""
    figure, axes = panels(10, 1.3 + 0.52 * len(pairs))
    frame = pd.DataFrame(
        [
            (f"{a}\n{b}", model, float(values[i]))
            for model, values in cosines.items()
            for i, (a, b) in enumerate(pairs)
        ],
        columns=["pair", "model", "cosine"],
    )
    sns.pointplot(
        frame,
        x="cosine",
        y="pair",
        hue="model",
        errorbar=None,
        linestyle="none",
        markersize=9,
        ax=axes,
        markers=list("so^Dv"[: len(cosines)]),
        palette=PALETTE[: len(cosines)],
    )
    axes.axvline(1, color=GREY, linestyle="--", linewidth=1)
    axes.set(xlabel="cosine of the two (1: cannot tell them apart)", ylabel="")
    axes.tick_params(axis="y", labelsize=9)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.margins(x=0.06)
    legend_outside(figure, axes, "upper")
    return figure


# --- pooled words ---------------------------------------------------------------------------------


def _pool_words(words: Tensor, mask: Tensor) -> Tensor:
    """`function(words, mask) -> pooled`, the masked average `Pool_avg(Emb)` of RFE eq. 6.

    `words` are `(n, n_words, d)`, `mask` `(n, n_words)` is True on real words; what stands behind a
    caption's last word may be anything, even not-a-number. The result is `(n, d)`.
    """
    return text.pool_words(words, mask)


def _clean(words: Tensor, mask: Tensor) -> Tensor:
    return words.masked_fill(~mask[..., None], 0)


_GENERATOR = torch.Generator().manual_seed(4)
_BY_HAND = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
_WORDS = torch.randn(3, 5, 4, generator=_GENERATOR)
_MASK = text.word_mask(torch.tensor([5, 2, 1]), 5)

check_pool_words = Check(
    _pool_words,
    [
        ("one caption of two words", (_BY_HAND, text.word_mask(torch.tensor([2]), 2))),
        ("captions of five, two and one words", (_WORDS, _MASK)),
        (
            "captions of one and four words",
            (torch.randn(2, 6, 3, generator=_GENERATOR), text.word_mask(torch.tensor([1, 4]), 6)),
        ),
    ],
    [
        lambda w, m: w.mean(1),
        "Padding is counted: the average runs over all columns, real or not.",
        lambda w, m: _clean(w, m).mean(1),
        "Padding is left out of the sum, but still counted when dividing: divide by the number "
        "of real words.",
        lambda w, m: _clean(w, m).sum(1),
        "This is the sum of the words; divide it by their number.",
        lambda w, m: _clean(w, ~m).sum(1) / (~m).sum(1, keepdim=True).clamp(min=1),
        "The mask is upside down: it is True on real words.",
        lambda w, m: text.pool_words(w, m, "max"),
        "This is max pooling; eq. 6 averages.",
        lambda w, m: _clean(w, m).mean(2),
        "The average runs over the numbers of each embedding (dim=2) instead of its words (dim=1).",
        lambda w, m: _clean(w, m).sum(1) / m.sum(),
        "One number of words divides the whole batch: each caption has its own.",
        lambda w, m: _clean(w, m).sum(1) / m.sum(1).max(),
        "Every caption is divided by the length of the longest: each has its own.",
    ],
    "Take one caption of two words and a padded place, and add up by hand.",
    traps=[
        (
            "padding that holds not-a-number",
            (_WORDS.masked_fill(~_MASK[..., None], float("nan")), _MASK),
            "0 · nan is nan: replace padding by zeros (`masked_fill` or `torch.where`) instead of "
            "multiplying by the mask.",
        )
    ],
)

# --- eq. 6 ----------------------------------------------------------------------------------------


def _rich_text_features(final: Tensor, words: Tensor) -> Tensor:
    """`function(final, words) -> T_fea`, RFE eq. 6 from a bi-GRU's final states and pooled words.

    `final` holds the states as `torch.nn.GRU` returns them, `(2, n, rnn_dim)`, forward first;
    `words` is `(n, word_dim)`. The result is `(n, rnn_dim + word_dim)`.
    """
    return text.rich_text_features(final[0] + final[1], words)


def _side_by_side(*parts: Tensor) -> Tensor:
    return torch.cat(parts, dim=1)


_STATES = torch.Generator().manual_seed(5)


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=_STATES)


check_rich_text_features = Check(
    _rich_text_features,
    [
        (
            "one caption",
            (torch.tensor([[[1.0, 4.0]], [[2.0, 0.0]]]), torch.tensor([[0.0, 2.0, 0.0]])),
        ),
        ("four captions", (_random(2, 4, 3), _random(4, 2))),
        ("short word vectors", (_random(2, 3, 5), _random(3, 5) / 50)),
    ],
    [
        lambda f, w: _side_by_side(f.sum(0), w),
        "Nothing is normalised: eq. 6 gives each of the two parts length one.",
        lambda f, w: l2norm(_side_by_side(f.sum(0), w)),
        "The joined vector is normalised (that is `norm='after'`, as the paper's text has it); "
        "eq. 6 normalises each part first.",
        lambda f, w: l2norm(_side_by_side(l2norm(f.sum(0)), l2norm(w))),
        "The joined vector is normalised once more after its parts; eq. 6 leaves it at √2.",
        lambda f, w: text.rich_text_features(f[0], w),
        "Only the forward state is used: add the backward one.",
        lambda f, w: text.rich_text_features(f[1], w),
        "Only the backward state is used: add the forward one.",
        lambda f, w: text.rich_text_features(_side_by_side(*f), w),
        "The two directions stand side by side; eq. 6 adds them.",
        lambda f, w: text.rich_text_features(l2norm(f[0]) + l2norm(f[1]), w),
        "Each direction is normalised before the sum: eq. 6 adds first. The longer state should "
        "weigh more.",
        lambda f, w: _side_by_side(l2norm(w), l2norm(f.sum(0))),
        "The words come second in eq. 6; here they come first.",
        lambda f, w: _side_by_side(l2norm(f.sum(0)), w),
        "The GRU's part is normalised, the words are not.",
        lambda f, w: _side_by_side(f.sum(0), l2norm(w)),
        "The words are normalised, the GRU's part is not.",
        lambda f, w: _side_by_side(l2norm(f.sum(0), dim=0), l2norm(w, dim=0)),
        "The sums run over the captions of the batch: normalise each row (dim=1), not columns.",
    ],
    "Take the first case: add the two states by hand, and divide each part by its length.",
)
