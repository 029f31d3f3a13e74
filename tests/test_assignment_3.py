"""Assignment 3, rich features: right and wrong solutions get the marks they deserve."""

import pytest
import torch

pytest.importorskip("nbgrader", reason='needs nbgrader: pip install -e ".[teaching]"')

from assignments import harness, wrong_3
from xmr_course.grading.course import assignments_dir, read, source_of

from xmr_lib.encoders.backbone import pool_stages
from xmr_lib.encoders.image import rich_image_features
from xmr_lib.encoders.text import TextEncoder, pool_words, rich_text_features, word_mask
from xmr_lib.similarity import l2norm

NAME = "3_rich_features"


@pytest.mark.slow
def test_marks(tmp_path):
    harness.check(NAME, wrong_3.WRONG, tmp_path)


def test_the_solution_says_what_the_kit_says():
    solved, failed = harness.run(read(source_of(assignments_dir(), NAME)))
    assert not failed
    torch.manual_seed(0)
    maps = [torch.randn(3, c, 4, 4) for c in (2, 3, 4, 5)]
    ours = solved["rich_image"](maps, (1, 2, 3, 4), (4,), solved["pool"], solved["unit"])
    torch.testing.assert_close(ours, rich_image_features(pool_stages(tuple(maps)), (2, 3, 4, 5)))

    encoder = TextEncoder(9, word_dim=4, rnn_dim=3, joint_dim=5, bidirectional=True)
    words, lengths = torch.randn(4, 6, 4), torch.tensor([6, 1, 3, 2])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        words, lengths, batch_first=True, enforce_sorted=False
    )
    states = torch.nn.utils.rnn.pad_packed_sequence(encoder.rnn(packed)[0], batch_first=True)[0]
    context = solved["context"](states, lengths)
    torch.testing.assert_close(context, encoder.context(words, lengths))
    for how in ("avg", "max"):
        pooled = solved["pool_words"](words, lengths, how)
        torch.testing.assert_close(pooled, pool_words(words, word_mask(lengths, 6), how))
        ours = solved["rich_text"](context, pooled, solved["unit"])
        torch.testing.assert_close(ours, rich_text_features(context, pooled))
    tiny = torch.tensor([[0.0, 0.0], [1e-30, 0.0], [3.0, 4.0]])
    torch.testing.assert_close(solved["unit"](tiny), l2norm(tiny))
