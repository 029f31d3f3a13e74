"""Wrong solutions of assignment 2, the hardest-negative triplet loss."""

from assignments.harness import Wrong

WRONG = [
    Wrong(
        name="no mask",
        cell="hardest_negative",
        code="""
def hardest_negative(scores, margin):
    right = scores.diagonal()
    l_img = (margin - right + scores.amax(1)).clamp(min=0).sum()
    l_sent = (margin - right + scores.amax(0)).clamp(min=0).sum()
    return l_img, l_sent
""",
        loses=("test_hardest", "test_hardest_edges", "test_hardest_gradient"),
        reveals="The right pair is its own rival: even a perfect model pays the margin.",
    ),
    Wrong(
        name="0 as cover",
        cell="hardest_negative",
        code="""
def hardest_negative(scores, margin):
    right = scores.diagonal()
    wrong = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), 0)
    l_img = (margin - right + wrong.amax(1)).clamp(min=0).sum()
    l_sent = (margin - right + wrong.amax(0)).clamp(min=0).sum()
    return l_img, l_sent
""",
        loses=("test_hardest_edges",),
        reveals="A mask before a maximum needs -inf: 0 beats all negative scores.",
        hidden_only=True,
    ),
    Wrong(
        name="sum for max",
        cell="hardest_negative",
        code="""
def hardest_negative(scores, margin):
    right = scores.diagonal()
    same = torch.eye(len(scores), dtype=torch.bool)
    image_anchor = (margin - right[:, None] + scores).clamp(min=0).masked_fill(same, 0)
    caption_anchor = (margin - right[None, :] + scores).clamp(min=0).masked_fill(same, 0)
    return image_anchor.sum(), caption_anchor.sum()
""",
        loses=("test_hardest", "test_hardest_edges", "test_hardest_gradient"),
        reveals="Handed in task 1 again: the inner maximum of eqs 7 and 8 was not understood.",
    ),
    Wrong(
        name="detached",
        cell="hardest_negative",
        code="""
def hardest_negative(scores, margin):
    l_img = l_sent = 0.0
    for a in range(len(scores)):
        rivals = [b for b in range(len(scores)) if b != a]
        if rivals:
            row = max(scores[a, b].item() for b in rivals)
            column = max(scores[b, a].item() for b in rivals)
            l_img += max(0.0, margin - scores[a, a].item() + row)
            l_sent += max(0.0, margin - scores[a, a].item() + column)
    return torch.tensor(l_img), torch.tensor(l_sent)
""",
        loses=("test_hardest_gradient",),
        reveals="Right numbers from which nothing can be learned: `.item()` cuts the gradient.",
    ),
    Wrong(
        name="wrong axis",
        cell="all_negatives",
        code="""
def all_negatives(scores, margin):
    right = scores.diagonal()
    same = torch.eye(len(scores), dtype=torch.bool)
    hinges = (margin - right[:, None] + scores).clamp(min=0).masked_fill(same, 0)
    return hinges.sum(1).sum(), hinges.sum(0).sum()
""",
        loses=("test_all_negatives",),
        reveals="Sums along another axis but keeps the row's right score: L_sent equals L_img.",
    ),
    Wrong(
        name="twins left in",
        cell="hardest_of_other_images",
        code="""
def hardest_of_other_images(scores, images, margin):
    right = scores.diagonal()
    wrong = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), float("-inf"))
    l_img = (margin - right + wrong.amax(1)).clamp(min=0).sum()
    l_sent = (margin - right + wrong.amax(0)).clamp(min=0).sum()
    return l_img, l_sent
""",
        loses=("test_same_image",),
        reveals="Ignores `images`: an image's own other caption is pushed away.",
    ),
    Wrong(
        name="all anchors pull",
        cell="gradient_by_hand",
        code="""
def gradient_by_hand(scores, margin):
    gradient = torch.zeros_like(scores)
    wrong = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), float("-inf"))
    for a in range(len(scores)):
        gradient[a, a] -= 2
        gradient[a, wrong[a].argmax()] += 1
        gradient[wrong[:, a].argmax(), a] += 1
    return gradient
""",
        loses=("test_gradient_by_hand",),
        reveals="Forgets that a hinge at 0 is flat: pairs that win by the margin teach nothing.",
        hidden_only=True,
    ),
    Wrong(
        name="no zero_grad",
        cell="train",
        code="""
def train(model, batches, loss, lr):
    optimiser = torch.optim.SGD(model.parameters(), lr)
    losses = []
    for images, captions in batches:
        value = loss(model(images, captions))
        value.backward()
        optimiser.step()
        losses.append(value.item())
    return losses
""",
        loses=("test_training",),
        reveals="Gradients of all batches so far add up: trains, but is no gradient descent.",
    ),
]
