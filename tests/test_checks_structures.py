import pytest
import torch
from notebook_solutions import solution, stub
from torch import nn
from xmr_course.checks import CheckFailed, structures

from xmr_lib.encoders import attention, tree

CHECKS = {
    "attention_weights": "09",
    "effective_parts": "09",
    "node_state": "11",
    "children_sums": "11",
}


def unwritten(*arguments):
    raise NotImplementedError


def crashing(*arguments):
    raise ZeroDivisionError("oops")


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (unwritten, "not written yet"),
        (crashing, "crashed with ZeroDivisionError: oops"),
        (lambda *arguments: None, "Did you forget `return`"),
        (lambda *arguments: "a string", "Return "),
    ],
)
def test_what_is_no_answer_is_told_so(name, answer, phrase):
    with pytest.raises(CheckFailed, match=f"✗ {name}") as failure:
        getattr(structures, name)(answer)
    assert phrase in str(failure.value)


@pytest.mark.parametrize("name", CHECKS)
def test_a_wrong_shape_is_told(name):
    zeros = torch.zeros(7, 7, 7)
    with pytest.raises(CheckFailed, match=r"the shape is \(7, 7, 7\), not \("):
        getattr(structures, name)(
            lambda *arguments: (zeros, zeros) if name == "node_state" else zeros
        )


@pytest.mark.parametrize(("name", "notebook"), CHECKS.items())
def test_solutions_of_the_notebooks_are_right_and_their_stubs_unwritten(name, notebook):
    check = getattr(structures, name)
    check(solution(notebook, name))
    with pytest.raises(CheckFailed, match="not written yet"):
        check(stub(notebook, name))


def test_a_nonsense_answer_gets_an_advice():
    with pytest.raises(CheckFailed, match="by hand"):
        structures.attention_weights(lambda parts, mask: parts.sum(2) + 17.5)
    with pytest.raises(CheckFailed, match="by hand"):
        structures.effective_parts(lambda weights: weights.sum(1) + 17.5)
    with pytest.raises(CheckFailed, match="by hand"):
        structures.node_state(lambda i, f, o, u, fk, ck: (i + 17.5, f))
    with pytest.raises(CheckFailed, match="by hand"):
        structures.children_sums(lambda hidden: hidden[:, :3] + 17.5)


# --- attention ------------------------------------------------------------------------------------


def real(x, m):
    return x.masked_fill(~m[..., None], 0)


def mean(x, m):
    return real(x, m).sum(1) / m.sum(1, keepdim=True)


def products(x, m):
    return torch.einsum("nkd,nd->nk", real(x, m), mean(x, m))


def softmax(p, m, dim=1):
    return p.masked_fill(~m, -torch.inf).softmax(dim)


def test_attention_right_answers(capsys):
    def one_image_after_the_other(x, m):
        result = torch.zeros(m.shape)
        for i in range(len(x)):
            regions = x[i][m[i]]
            result[i, m[i]] = (regions @ regions.mean(0)).softmax(0)
        return result

    for answer in (
        one_image_after_the_other,
        lambda x, m: attention.self_attention(x, m)[1],
        lambda x, m: softmax(products(x, m), m),
    ):
        structures.attention_weights(answer)
    assert capsys.readouterr().out.count("all 4 checks passed") == 3


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda x, m: products(x, m).softmax(0), "over the images of the batch"),
        (lambda x, m: softmax(products(x, m), m, 0), "over the images of the batch"),
        (lambda x, m: (x @ x.mean(1)[..., None])[..., 0].softmax(1), "not used at all"),
        (lambda x, m: (x @ mean(x, m)[..., None])[..., 0].softmax(1), "not used in the softmax"),
        (lambda x, m: softmax((x @ x.mean(1)[..., None])[..., 0], m), "part of the mean"),
        (
            lambda x, m: softmax((x @ real(x, m).mean(1)[..., None])[..., 0], m),
            "divided by the width",
        ),
        (lambda x, m: softmax((x @ real(x, m).sum(1)[..., None])[..., 0], m), "is the sum"),
        (
            lambda x, m: (x @ mean(x, m)[..., None])[..., 0].softmax(1) * m,
            "no longer adds up to one",
        ),
        (lambda x, m: products(x, m).softmax(1), "exp(0) is 1, not 0"),
        (lambda x, m: softmax(products(x, m) / x.shape[-1] ** 0.5, m), "divided by √d"),
        (
            lambda x, m: softmax(
                (x @ x.masked_fill(~m[..., None], -torch.inf).amax(1)[..., None])[..., 0], m
            ),
            "maximum of the regions",
        ),
        (lambda x, m: softmax(products(x, m), ~m), "fill where it is False"),
        (products, "a softmax makes weights"),
        (lambda x, m: m / m.sum(1, keepdim=True), "All weights are equal"),
        (
            lambda x, m: softmax(
                (x * ((x * m[..., None]).sum(1) / m.sum(1, True))[:, None]).sum(2), m
            ),
            "0 · nan is nan",
        ),
    ],
)
def test_attention_wrong_answers_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ attention_weights") as failure:
        structures.attention_weights(answer)
    assert phrase in str(failure.value)


def test_effective_parts_right_answers(capsys):
    structures.effective_parts(lambda w: torch.special.entr(w).sum(1).exp())
    structures.effective_parts(lambda w: (-(w * w.clamp(min=1e-12).log()).sum(1)).exp())
    structures.effective_parts(lambda w: torch.distributions.Categorical(w).perplexity())
    assert capsys.readouterr().out.count("all 3 checks passed") == 3


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda w: -(w * w.log()).sum(1), "take `exp` of it"),
        (lambda w: (w * w.log()).sum(1), "minus of -Σ α ln α and the `exp`"),
        (lambda w: (w * w.log()).sum(1).exp(), "minus of -Σ α ln α is missing"),
        (lambda w: (-(w * w.log2()).sum(1)).exp(), "base 2"),
        (lambda w: (-(w * w.log()).mean(1)).exp(), "a mean over the parts"),
        (lambda w: 1 / (w**2).sum(1), "Rényi"),
        (lambda w: (-(w * w.log()).sum()).exp().repeat(len(w)), "over all images"),
        (lambda w: (-(w * w.log()).sum(1)).exp(), "0 · ln 0 is nan"),
    ],
)
def test_effective_parts_wrong_answers_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ effective_parts") as failure:
        structures.effective_parts(answer)
    assert phrase in str(failure.value)


# --- tree -----------------------------------------------------------------------------------------


def node(kept=None, i=torch.sigmoid, u=torch.tanh, last=torch.tanh, o=torch.sigmoid):
    """An answer with some of its steps replaced."""
    kept = kept or (lambda f, fk, ck: f * (fk * ck).sum(2))

    def answer(z_i, z_f, z_o, z_u, fk, ck):
        c = i(z_i) * u(z_u) + kept(torch.sigmoid(z_f), fk, ck)
        return c, o(z_o) * last(c)

    return answer


def test_node_right_answers(capsys):
    def by_the_library(z_i, z_f, z_o, z_u, fk, ck):
        i, f, o = (gate(z, 0 * z) for gate, z in zip(
            (tree.input_gate, tree.forget_gate, tree.output_gate), (z_i, z_f, z_o), strict=True
        ))  # fmt: skip
        c = tree.cell_state(i, tree.candidate(z_u, 0 * z_u), f, fk, ck)
        return c, tree.hidden_state(o, c)

    def child_after_child(z_i, z_f, z_o, z_u, fk, ck):
        c = z_i.sigmoid() * z_u.tanh()
        for k in range(ck.shape[2]):
            c = c + z_f.sigmoid() * fk[:, :, k] * ck[:, :, k]
        return [c, z_o.sigmoid() * c.tanh()]

    for answer in (by_the_library, child_after_child, node()):
        structures.node_state(answer)
    assert capsys.readouterr().out.count("all 3 checks passed") == 3


def without_sigmoid(z_i, z_f, z_o, z_u, fk, ck):
    c = z_i * z_u.tanh() + z_f * (fk * ck).sum(2)
    return c, z_o * c.tanh()


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (node(lambda f, fk, ck: (fk * ck).sum(2)), "own forget gate f is missing"),
        (node(lambda f, fk, ck: f * ck.sum(2)), "gates f_k are missing"),
        (node(lambda f, fk, ck: (f[:, :, None] * ck).sum(2)), "gates f_k are missing"),
        (node(lambda f, fk, ck: ck.sum(2)), "Both forget gates"),
        (node(lambda f, fk, ck: f * fk.sum(2) * ck.sum(2)), "add up before you multiply"),
        (node(lambda f, fk, ck: f * (f[:, :, None] * ck).sum(2)), "place of the children's"),
        (node(lambda f, fk, ck: f * (fk * ck).mean(2).nan_to_num()), "not their mean"),
        (node(lambda f, fk, ck: f + (fk * ck).sum(2)), "f is added"),
        (node(lambda f, fk, ck: (1 - f) * (fk * ck).sum(2)), "near 1 *keeps*"),
        (node(lambda f, fk, ck: 0), "The children are missing"),
        (node(lambda f, fk, ck: f * (fk * ck).sum(1)), "over the nodes"),
        (node(u=lambda z: z), "tanh of the candidate"),
        (node(u=torch.sigmoid), "it is no gate"),
        (node(i=torch.ones_like), "input gate i is missing"),
        (without_sigmoid, "miss their sigmoid"),
        (node(last=lambda c: c), "misses its tanh"),
        (node(o=torch.ones_like), "misses the output gate"),
        (lambda *z: node()(*z)[::-1], "c and h are swapped"),
        (lambda *z: node()(*z)[0], "Return two tensors"),
        (lambda *z: (z[0], z[4]), "both are alike"),
    ],
)
def test_node_wrong_answers_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ node_state") as failure:
        structures.node_state(answer)
    assert phrase in str(failure.value)


def test_sums_right_answers(capsys):
    def layer_by_layer(hidden):
        leaves, middle = hidden[:, ::2], hidden[:, [1, 5]]
        below = torch.cat([leaves[:, :2], middle, leaves[:, 2:]], dim=1)
        return below.unflatten(1, (3, 2)).sum(2)

    def node_by_node(hidden):
        pairs = ((0, 2), (1, 5), (4, 6))
        return torch.stack([hidden[:, a] + hidden[:, b] for a, b in pairs], dim=1)

    def by_the_library(hidden):
        """Inputs of a linear tree are its leaves' states; its weights let children through."""
        return torch.stack([_heard(hidden, place) for place in (2, 4, 6)], dim=1)

    for answer in (layer_by_layer, node_by_node, by_the_library):
        structures.children_sums(answer)
    assert capsys.readouterr().out.count("all 2 checks passed") == 3


def _heard(hidden, place):
    """What a linear tree's node adds to its input, if all other inputs are made for its children
    to come out as `hidden`."""
    size = hidden.shape[2]
    linear = tree.LinearTree(size, size)
    nn.init.eye_(linear.from_input.weight), nn.init.zeros_(linear.from_input.bias)
    nn.init.eye_(linear.from_children.weight)
    inputs = hidden.clone()
    if place == 4:  # with silent leaves, 2 and 6 come out as their inputs
        inputs[:, ::2] = 0
    return linear(inputs).hidden[:, place - 1] - inputs[:, place - 1]


@pytest.mark.parametrize(
    ("answer", "phrase"),
    [
        (lambda h: h[:, [[0, 2], [4, 6], [1, 5]]].sum(2), "the root is in the middle"),
        (lambda h: h[:, [[1, 5], [0, 2], [4, 6]]].sum(2), "the root is in the middle"),
        (lambda h: h[:, [[0, 2], [2, 4], [4, 6]]].sum(2), "3 and 5 stand beside the root"),
        (
            lambda h: torch.stack(
                [h[:, [0, 2]].sum(1), h[:, ::2].sum(1), h[:, [4, 6]].sum(1)], dim=1
            ),
            "not the leaves",
        ),
        (lambda h: h.roll(-1, 1)[:, [[0, 2], [1, 5], [4, 6]]].sum(2), "columns from 0"),
        (lambda h: h[:, [[0, 2], [1, 5], [4, 6]]].mean(2), "not their mean"),
        (lambda h: h[:, [[0, 1, 2], [1, 3, 5], [4, 5, 6]]].sum(2), "own state"),
        (lambda h: h[:, [[0, 1], [2, 3], [4, 5]]].sum(2), "neighbours in the row"),
    ],
)
def test_sums_wrong_answers_are_explained(answer, phrase):
    with pytest.raises(CheckFailed, match="✗ children_sums") as failure:
        structures.children_sums(answer)
    assert phrase in str(failure.value)
