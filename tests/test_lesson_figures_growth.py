"""Pictures of lesson 16 show what they are given."""

import numpy as np
import pandas as pd
from xmr_course.lessons import lesson_16


def test_recall_by_effort():
    frame = pd.DataFrame(
        {"effort": [1, 4], "recall@1": [0.5, 1.0], "recall@10": [0.25, 0.75],
         "milliseconds": [1.0, 2.0]}
    )  # fmt: skip
    recall, time = lesson_16.plot_recall(frame).axes
    assert [line.get_ydata()[0] for line in recall.lines[:2]] == [0.5, 0.25]
    assert time.lines[0].get_ydata().tolist() == [1.0, 2.0]
    assert [tick.get_text() for tick in time.get_xticklabels()] == ["1", "4"]


def test_hardest_captions_of_ones_own_share_and_of_anothers():
    scores = np.eye(4)
    scores[0, 1] = scores[1, 3] = scores[2, 3] = scores[3, 0] = 0.5  # two of them across
    axes = lesson_16.plot_hardest(scores).axes[0]
    own, others = axes.lines
    assert sorted(zip(own.get_ydata(), own.get_xdata(), strict=True)) == [(0, 1), (2, 3)]
    assert sorted(zip(others.get_ydata(), others.get_xdata(), strict=True)) == [(1, 3), (3, 0)]
    assert len(axes.patches) == 2
