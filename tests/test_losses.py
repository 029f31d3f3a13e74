from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import TripletMarginLoss

from xmr_lib.losses import hardest_negatives, plateau, triplet_loss
from xmr_lib.similarity import SIMILARITIES, cosine_similarity, l2norm, order_similarity

GOLDEN = np.load(Path(__file__).parent / "golden" / "vsepp_contrastive.npz")
NEGATIVES = {1: "hardest", 0: "all"}


def total(parts):
    return parts["L_img"] + parts["L_sent"]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("margin", [0.2, 0.05])
@pytest.mark.parametrize("mv", [1, 0])
@pytest.mark.parametrize("similarity", ["cosine", "order"])
def test_golden_losses_and_gradients(similarity, mv, margin, dtype):
    suffix = "_abs" if similarity == "order" else ""
    kind = {"f32": torch.float32, "f64": torch.float64}[dtype]
    images, captions = (
        torch.tensor(GOLDEN[name + suffix], dtype=kind, requires_grad=True) for name in ("im", "s")
    )
    loss = total(triplet_loss(SIMILARITIES[similarity](images, captions), margin, NEGATIVES[mv]))
    loss.backward()
    tolerance = {"atol": 1e-5, "rtol": 1e-5} if dtype == "f32" else {"atol": 0, "rtol": 1e-6}
    key = f"{similarity}_mv{mv}_m{margin}_{dtype}"
    np.testing.assert_allclose(loss.detach(), GOLDEN[f"loss_{key}"], **tolerance)
    tolerance["atol"] = max(tolerance["atol"], 1e-12)
    np.testing.assert_allclose(images.grad, GOLDEN[f"gim_{key}"], **tolerance)
    np.testing.assert_allclose(captions.grad, GOLDEN[f"gs_{key}"], **tolerance)


@pytest.mark.parametrize("similarity", ["cosine", "order"])
def test_golden_scores(similarity):
    suffix = "_abs" if similarity == "order" else ""
    images, captions = (torch.tensor(GOLDEN[n + suffix]).double() for n in ("im", "s"))
    ours = SIMILARITIES[similarity](images, captions)
    np.testing.assert_allclose(ours, GOLDEN[f"scores_{similarity}_f64"], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("mv", [1, 0])
def test_golden_loss_with_tied_captions(mv):
    images, captions = (torch.tensor(GOLDEN[name]).double() for name in ("im", "s_ties"))
    loss = total(triplet_loss(cosine_similarity(images, captions), 0.2, NEGATIVES[mv]))
    np.testing.assert_allclose(loss, GOLDEN[f"loss_ties_mv{mv}_m0.2_f64"], rtol=1e-6)


def test_golden_order_gradients_are_finite_where_every_pair_is_satisfied():
    images = torch.tensor(GOLDEN["order_zero_im"], requires_grad=True)
    scores = order_similarity(images, torch.tensor(GOLDEN["order_zero_s"]))
    loss = total(triplet_loss(scores, 0.2))
    assert loss.item() == pytest.approx(float(GOLDEN["order_zero_loss"]))
    loss.backward()
    assert torch.isfinite(images.grad).all()
    np.testing.assert_allclose(images.grad, GOLDEN["order_zero_gim"], atol=1e-6)


@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_a_batch_of_one_pair_costs_nothing(negatives):
    assert total(triplet_loss(torch.tensor([[0.3]]), 0.2, negatives)) == 0


def test_hand_computed_equations_7_and_8():
    scores = torch.tensor([[0.5, 0.4, 0.1], [0.6, 0.7, 0.65], [0.0, 0.2, 0.3]])
    hardest = triplet_loss(scores, 0.2)
    # eq. 7, rows: .2-.5+.4, .2-.7+.65, .2-.3+.2
    assert hardest["L_img"].item() == pytest.approx(0.1 + 0.15 + 0.1)
    # eq. 8, columns: .2-.5+.6, .2-.7+.4 < 0, .2-.3+.65
    assert hardest["L_sent"].item() == pytest.approx(0.3 + 0 + 0.55)
    every = triplet_loss(scores, 0.2, "all")
    assert every["L_img"].item() == pytest.approx(0.1 + (0.1 + 0.15) + 0.1)
    assert every["L_sent"].item() == pytest.approx(0.3 + 0 + 0.55)


def test_slow_triplets_equal_fast():
    torch.manual_seed(0)
    scores, margin = torch.randn(9, 9).double(), 0.3
    image, sentence = [], []
    for i in range(9):
        others = [j for j in range(9) if j != i]
        image.append([max(0, margin - scores[i, i] + scores[i, j]) for j in others])
        sentence.append([max(0, margin - scores[i, i] + scores[j, i]) for j in others])
    for negatives, pick in (("hardest", max), ("all", sum)):
        ours = triplet_loss(scores, margin, negatives)
        assert ours["L_img"].item() == pytest.approx(float(sum(map(pick, image))))
        assert ours["L_sent"].item() == pytest.approx(float(sum(map(pick, sentence))))


def test_all_negatives_equal_metric_learning_library():
    torch.manual_seed(1)
    images, captions = l2norm(torch.randn(8, 5)), l2norm(torch.randn(8, 5))
    labels = torch.arange(8)
    library = TripletMarginLoss(margin=0.2, distance=CosineSimilarity())
    scores = cosine_similarity(images, captions)
    ours = triplet_loss(scores, 0.2, "all")["L_img"]
    eye = torch.eye(8, dtype=torch.bool)
    active = int(((0.2 - scores.diagonal()[:, None] + scores)[~eye] > 0).sum())
    theirs = library(images, labels, ref_emb=captions, ref_labels=labels.clone())
    assert ours.item() == pytest.approx(theirs.item() * active, rel=1e-5)


def test_other_captions_of_an_image_are_no_negatives():
    scores = torch.tensor([[0.5, 0.9, 0.1], [0.9, 0.5, 0.1], [0.1, 0.1, 0.5]])
    images = torch.tensor([7, 7, 8])  # the first two pairs show the same image
    same = images[:, None] == images[None]
    assert total(triplet_loss(scores, 0.2)).item() == pytest.approx(4 * 0.6)
    assert total(triplet_loss(scores, 0.2, same_image=same)).item() == 0
    assert hardest_negatives(scores, same)[0].tolist()[:2] == [2, 2]


def test_collapse_costs_the_plateau():
    scores = torch.ones(128, 128)
    assert total(triplet_loss(scores, 0.2)).item() == pytest.approx(plateau(128, 0.2)) == 51.2


def test_scores_must_be_square():
    with pytest.raises(ValueError, match=r"square.*\(2, 3\)"):
        triplet_loss(torch.zeros(2, 3))
