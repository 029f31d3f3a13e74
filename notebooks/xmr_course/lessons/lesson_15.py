"""Lesson 15: your own photos. How much a split leaks, and what twice as many photos bring."""

from __future__ import annotations

import numpy as np

from xmr_course.lessons.checking import Check, one_number
from xmr_course.lessons.drawing import plot_captioned as plot_captioned


def _leaking_share(events: list[str], splits: list[str]) -> float:
    """`function(events, splits) -> share` of test photos whose event is in training, too."""
    learnt = {event for event, split in zip(events, splits, strict=True) if split == "train"}
    test = [event for event, split in zip(events, splits, strict=True) if split == "test"]
    return sum(event in learnt for event in test) / len(test)


def _of_all_photos(events: list[str], splits: list[str]) -> float:
    return _leaking_share(events, splits) * splits.count("test") / len(splits)


def _of_events(events: list[str], splits: list[str]) -> float:
    pairs = sorted(set(zip(events, splits, strict=True)))
    return _leaking_share([event for event, _ in pairs], [split for _, split in pairs])


def _with_val(events: list[str], splits: list[str]) -> float:
    return _leaking_share(events, ["train" if split == "val" else split for split in splits])


def _turned_round(events: list[str], splits: list[str]) -> float:
    other = {"train": "test", "test": "train"}
    return _leaking_share(events, [other.get(split, split) for split in splits])


check_leaking_share = Check(
    _leaking_share,
    [
        (title, (events.split(), splits.split()))
        for title, events, splits in (
            (
                "party and hike",
                "party party party hike hike zoo zoo",
                "train test val test train val train",
            ),
            ("val and test share an event", "sea sea hill hill sea", "val test train train test"),
            (
                "one event has several test photos",
                "a a a a b c c",
                "train test test test test train train",
            ),
        )
    ],
    [
        _of_all_photos,
        "Divide by the number of test photos, not of all photos.",
        _of_events,
        "That counts events; count photos: an event may have several in the test split.",
        _with_val,
        "Only training counts here: an event shared by val and test is another trouble.",
        _turned_round,
        "That is the share of training photos whose event is in the test split.",
        lambda events, splits: 100 * _leaking_share(events, splits),
        "A share between 0 and 1 is asked for, not percent.",
    ],
    "Of the photos with split 'test', count those whose event some 'train' photo has.",
    one_number,
)


def _gain_per_doubling(sizes: np.ndarray, rsums: np.ndarray) -> float:
    """`function(sizes, rsums) -> gain`: slope of rsum over log2 of the size, least squares."""
    return float(np.polyfit(np.log2(sizes), rsums, 1)[0])


check_gain_per_doubling = Check(
    _gain_per_doubling,
    [
        ("two sizes", (np.array([100.0, 400.0]), np.array([50.0, 90.0]))),
        ("a straight line", (np.array([50.0, 100, 200, 400]), np.array([10.0, 35, 60, 85]))),
        ("a bent curve", (np.array([25.0, 100, 1000, 5500]), np.array([20.0, 70, 160, 235]))),
    ],
    [
        lambda sizes, rsums: np.polyfit(sizes, rsums, 1)[0],
        "That is the gain of one more image; take the logarithm of the sizes.",
        lambda sizes, rsums: np.polyfit(np.log(sizes), rsums, 1)[0],
        "With the natural logarithm it is the gain of 2.7 times as many images: take log2.",
        lambda sizes, rsums: np.polyfit(np.log10(sizes), rsums, 1)[0],
        "With log10 it is the gain of ten times as many images: take log2.",
        lambda sizes, rsums: np.polyfit(np.log2(sizes), rsums, 1)[1],
        "That is where the line begins; its slope is the other number.",
        lambda sizes, rsums: (rsums[-1] - rsums[0]) / np.log2(sizes[-1] / sizes[0]),
        "That looks at the first and the last size only; fit a line to all of them.",
        lambda sizes, rsums: np.mean(np.diff(rsums)),
        "The steps between sizes are not all doublings: divide by how many they are.",
    ],
    "np.polyfit(np.log2(sizes), rsums, 1)[0] is the slope of the best line.",
    one_number,
)
