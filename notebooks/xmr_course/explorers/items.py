"""What the tree explorer shows of a run: predicted trees, answers and shares of some captions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xmr_course import inside
from xmr_course.explorers.trees import TreeItem
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.retriever import Retriever
from xmr_lib.runs import Run


def tree_items(
    run: Run, captions: Sequence[int] | None = None, data: CaptionedImages | None = None
) -> list[TreeItem]:
    """Items for `xmr_course.explorers.tree_explorer`.

    Args:
        run: A finished run of SMFEA with trees.
        captions: Positions of captions of `data`; by default twelve, evenly spaced.
        data: The reported split by default.

    Raises:
        DataError: The run has no trees.
    """
    inside.require_trees(run)
    data = run.report if data is None else data
    if captions is None:
        captions = np.linspace(0, data.n_captions - 1, min(12, data.n_captions)).astype(int)
    captions = np.asarray(captions, dtype=int)
    # Trees of the chosen captions' images only: a whole test set would take a while to parse.
    images = np.unique(data.image_of_caption[captions])
    nodes = inside.predict_nodes(run, data.subset(images))
    of_images = np.flatnonzero(np.isin(data.image_of_caption, images))  # as `nodes` numbers them
    return [
        _item(run, data, nodes, int(caption), int(np.searchsorted(of_images, caption)))
        for caption in captions
    ]


def _item(
    run: Run, data: CaptionedImages, nodes: inside.NodePredictions, caption: int, node: int
) -> TreeItem:
    """The item of a caption, which is number `node` among the predictions."""
    image = int(data.image_of_caption[caption])
    return TreeItem(
        picture=data.image_files[image],
        caption=data.captions[caption],
        referral=nodes.referral[node],
        image_names=nodes.names("image", node),
        caption_names=nodes.names("caption", node),
        image_right=nodes.right("image")[node],
        caption_right=nodes.right("caption")[node],
        top3_captions=top_captions(run, image, data),
        top3_images=top_images(run, caption, data),
        contributions=inside.contributions(run, caption, data),
        known=nodes.known[node],
    )


def top_images(
    run: Retriever, caption: int, data: CaptionedImages | None = None, k: int = 3
) -> list[tuple]:
    """The first images of a caption's search: file, and whether it is the caption's own."""
    data = run.report if data is None else data
    own = data.image_of_caption[caption]
    hits = run.search_images(data.captions[caption], k, data)
    return [(hit.image_file, hit.index == own) for hit in hits]


def top_captions(
    run: Retriever, image: int, data: CaptionedImages | None = None, k: int = 3
) -> list[tuple]:
    """The first captions of an image's search: caption, and whether it is the image's own."""
    data = run.report if data is None else data
    hits = run.search_captions(int(image), k, data)
    return [(hit.caption, data.image_of_caption[hit.index] == image) for hit in hits]
