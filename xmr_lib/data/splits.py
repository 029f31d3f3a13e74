"""Which images are for training, validation and test: the papers' protocols, by name."""

from __future__ import annotations

import hashlib

import numpy as np

from xmr_lib.errors import DataError, UnknownNameError

PROTOCOLS = ("karpathy", "rfe")

_FLICKR30K = 31_783  # images of Flickr30K; Karpathy's file has 31,014 of them
_RFE_HELD_OUT = 1_000  # RFE §IV-A: 1,000 for validation and 1,000 for test, the others train


def assign_splits(
    names: list[str],
    given: list[str | None],
    protocol: str | None = None,
    *,
    restval: bool = True,
) -> np.ndarray:
    """Gives every image its split.

    Args:
        names: File names of all images.
        given: The split of each in the annotations; None: not given.
        protocol: "karpathy": the file's own splits, which it must have (Flickr30K
            29,000/1,014/1,000, MS-COCO 113,287/5,000/5,000 with `restval`). "rfe": RFE's
            29,783/1,000/1,000 of all images of Flickr30K, drawn at random (always the same), since
            the list is not published. None: the given splits or, if there are none, 80/10/10 by
            `split_by_name`.
        restval: Count MS-COCO's "restval" images as training images.

    Returns:
        (n_images,) names of splits.

    Raises:
        UnknownNameError: no such protocol.
        DataError: the protocol does not fit the data.
    """
    if protocol not in (None, *PROTOCOLS):
        raise UnknownNameError("split protocol", protocol, PROTOCOLS)
    if protocol == "rfe":
        return _rfe(names)
    unknown = sum(split is None for split in given)
    if unknown == len(given) and protocol is None:
        return split_by_name(names)
    if unknown:
        raise DataError(
            f"{unknown:,} of {len(given):,} images have no split. Karpathy's splits of Flickr8k, "
            "Flickr30K and MS-COCO are in his dataset_*.json; a table names them in its column "
            "'split'; without a protocol, images of a file without splits are divided 80/10/10."
        )
    splits = np.array(given, dtype=str)
    if restval:
        splits[splits == "restval"] = "train"
    return splits


def split_by_name(names: list[str]) -> np.ndarray:
    """Divides images about 80/10/10 by the SHA-256 of their names.

    The same image is in the same split on every machine, and stays there when others are added.
    Only where so few images would leave a split empty, the images nearest to it go there.

    >>> split_by_name(["a.jpg", "b.jpg", "c.jpg"]).tolist()
    ['train', 'val', 'test']
    """
    places = np.array([int(hashlib.sha256(n.encode()).hexdigest()[:8], 16) for n in names])
    places = places / 2**32  # (n_images,) in [0, 1)
    splits = np.where(places < 0.8, "train", np.where(places < 0.9, "val", "test"))
    order = np.argsort(places, kind="stable")
    if len(names) >= 3 and len(np.unique(splits)) < 3:
        splits[order[0]], splits[order[-2]], splits[order[-1]] = "train", "val", "test"
    return splits


def _rfe(names: list[str]) -> np.ndarray:
    if len(names) != _FLICKR30K:
        raise DataError(
            f"RFE's split needs all {_FLICKR30K:,} images of Flickr30K (those of "
            f"results_20130124.token); these are {len(names):,}. With Karpathy's "
            "dataset_flickr30k.json use protocol='karpathy' (29,000/1,014/1,000)."
        )
    splits = np.full(len(names), "train", dtype="<U5")
    # Drawn over the sorted names, so that the order of lines in the file does not matter.
    held_out = np.argsort(np.array(names), kind="stable")
    held_out = held_out[np.random.default_rng(0).permutation(len(names))]
    splits[held_out[:_RFE_HELD_OUT]] = "val"
    splits[held_out[_RFE_HELD_OUT : 2 * _RFE_HELD_OUT]] = "test"
    return splits
