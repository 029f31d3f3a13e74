"""Example searches of a run, spread evenly over its test images: never picked by hand."""

from __future__ import annotations

import numpy as np

from xmr_lib import figures
from xmr_lib.runs import Run


def text_to_image(run: Run, n: int = 10, k: int = 5, words_only: bool = False) -> figures.Figure:
    """`n` captions and the `k` images found for each.

    Args:
        run: A finished run.
        n: Queries, evenly spaced over the captions of the reported split.
        k: Images shown for each.
        words_only: Show an image as its first caption, for photographs that may not be passed on.
    """
    report = run.report
    n = min(n, report.n_captions)
    chosen = (np.arange(n) + 0.5) / n * report.n_captions  # the middle of each n-th
    chosen = chosen.astype(int)
    sentences = [report.captions[c] for c in chosen]
    hits = [run.search_images(sentence, k, report) for sentence in sentences]
    right = [[int(report.image_of_caption[c])] for c in chosen]
    if not words_only:
        return figures.plot_retrieved_images(sentences, hits, right)
    title = f"{run.recipe.name} on {report.name}: each box is an image, told by its first caption"
    return figures.caption_cards(
        sentences, hits, right, lambda image: report.captions_of(image)[0], title
    )


def image_to_text(run: Run, image: int, k: int = 5) -> figures.Figure:
    """An image of the reported split and the `k` captions found for it."""
    own = np.flatnonzero(run.report.image_of_caption == image).tolist()
    hits = run.search_captions(image, k, run.report)
    return figures.plot_retrieved_captions(run.report.image_files[image], hits, own)
