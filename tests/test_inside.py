"""Looking inside SMFEA: whether an image and its own caption agree, part by part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from xmr_course.inside import agreement

from xmr_lib.errors import DataError


def test_agreement_is_counted_pair_by_pair(tiny_run):
    run = tiny_run("SMFEA")
    found = agreement(run, n=5)
    assert list(found.index) == ["instance", "tree", "concepts", "fused"]
    first = [list(run.report.image_of_caption).index(image) for image in range(5)]
    images = run.encode_images(run.report).vectors[:5]
    captions = run.encode_sentences([run.report.captions[i] for i in first]).vectors
    cosines = torch.as_tensor(images @ captions.T).numpy()
    own = [cosines[i, i] for i in range(5)]
    others = [cosines[i, j] for i in range(5) for j in range(5) if i != j]
    ranks = [1 + sum(cosines[i, j] > own[i] for j in range(5)) for i in range(5)]
    expected = [np.mean(own), np.mean(others), np.mean(ranks)]
    np.testing.assert_allclose(found.loc["fused"], expected, atol=1e-5)
    assert ((found["rank"] >= 1) & (found["rank"] <= 5)).all()


def test_agreement_leaves_out_parts_that_a_model_lacks(tiny_run):
    assert list(agreement(tiny_run("CVSE")).index) == ["instance", "concepts", "fused"]
    with pytest.raises(DataError, match="no parts"):
        agreement(tiny_run("VSE++"))
