"""Plausible wrong solutions of assignment 5, referral trees and the tree cell."""

from assignments.harness import Wrong

WRONG = [
    Wrong(
        name="first modifier",
        cell="fragment",
        code="""
def fragment(tokens):
    kept = [token for token in tokens if token.tag.startswith(("JJ", "NN"))]
    if not kept or not kept[-1].tag.startswith("NN"):
        return None
    return kept[0].lemma if len(kept) == 1 else f"{kept[0].lemma} {kept[-1].lemma}"
""",
        loses=("test_fragment",),
        reveals="Keeps one modifier, but the wrong one: “young blond girl” becomes “young”.",
    ),
    Wrong(
        name="copula kept",
        cell="relation",
        code="""
def relation(tokens):
    verb, joined = None, None
    finite = any(token.tag in ("VBZ", "VBP", "VBD", "MD") for token in tokens)
    for token in tokens:
        if token.tag.startswith("V") and verb is None:
            verb = token.lemma
        elif token.tag in ("IN", "TO", "RP"):
            joined = ("preposition", token.word)
        elif token.tag == "CC":
            joined = ("conjunction", token.word)
    if verb is None:
        return joined
    text = verb if joined is None else f"{verb} {joined[1]}"
    return ("verb" if finite else "participle"), text
""",
        loses=("test_relation",),
        reveals="Takes the first verb for the main one: half of all captions then say “be”.",
    ),
    Wrong(
        name="first verb of any kind",
        cell="root_of",
        code="""
def root_of(chunks):
    for kinds in (("verb", "participle"), ("preposition",), ("conjunction",)):
        for i, chunk in enumerate(chunks):
            if chunk.kind in kinds:
                return i
    return None
""",
        loses=("test_root",),
        reveals="Does not tell “holds” from “wearing”: the main clause is the finite one.",
    ),
    Wrong(
        name="fragments move up",
        cell="places",
        code="""
def places(chunks, root):
    left = chunks if root is None else chunks[:root]
    right = [] if root is None else chunks[root + 1 :]

    def three(part, none_without_second):
        things = [i for i, c in enumerate(part) if c.kind == "fragment"]
        texts = [part[i].text for i in things[:2]] + [None, None]
        inner = part[things[0] : things[1]] if len(things) > 1 else []
        between = inner if none_without_second else part
        joins = [c.text for c in between if c.kind not in ("fragment", "other")]
        return texts[0], joins[0] if joins else None, texts[1]

    middle = None if root is None else chunks[root].text
    return (*three(left, True), middle, *three(right, False))
""",
        loses=("test_places_right",),
        reveals="Fills a gap with what comes next; then place 5 means something else every time.",
    ),
    Wrong(
        name="the parent's gate twice",
        cell="node",
        code="""
def node(x, children, W, U):
    size = len(W["i"])
    heard = sum((h for h, _, _ in children), np.zeros(size))
    i, f, o = (sigmoid(W[gate] @ x + U[gate] @ heard) for gate in "ifo")
    c = i * np.tanh(W["u"] @ x + U["u"] @ heard)
    for _, ck, _ in children:
        c = c + f * f * ck
    return o * np.tanh(c), c, f
""",
        loses=("test_node_parent",),
        reveals="Reads f_t and f_k in eq. 10 as one; invisible while all gates are one half.",
        hidden_only=True,
    ),
    Wrong(
        name="neighbours for children",
        cell="whole_tree",
        code="""
def whole_tree(inputs, cell):
    result = {}
    for place in (1, 3, 5, 7, 2, 6, 4):
        below = [] if place % 2 else [result[place - 1], result[place + 1]]
        result[place] = cell(inputs[place - 1], below)
    return [result[place] for place in range(1, 8)]
""",
        loses=("test_whole_tree",),
        reveals="Confuses row and tree: 3 and 5 stand beside the root, 2 and 6 are its children.",
    ),
    Wrong(
        name="Null as the last category",
        cell="node_cross_entropy",
        code="""
def node_cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=2, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    picked = np.take_along_axis(log_p, labels[:, :, None], axis=2)[:, :, 0]
    return -picked.sum(axis=1)
""",
        loses=("test_cross_entropy",),
        reveals="Lets numpy count from the end: -1 is an index to it, and no error says so.",
    ),
    Wrong(
        name="passive and perfect forgotten",
        cell="relation",
        code="""
def relation(tokens):
    verb, joined = None, None
    finite = any(token.tag in ("VBZ", "VBP", "VBD", "MD") for token in tokens)
    for token in tokens:
        if token.tag.startswith("V") and token.word not in ("is", "are") and verb is None:
            verb = token.lemma
        elif token.tag in ("IN", "TO", "RP"):
            joined = ("preposition", token.word)
        elif token.tag == "CC":
            joined = ("conjunction", token.word)
    if verb is None:
        return joined
    text = verb if joined is None else f"{verb} {joined[1]}"
    return ("verb" if finite else "participle"), text
""",
        loses=("test_relation",),
        reveals="Writes down the examples' words, not the rule: “is being pushed” is “be”.",
        hidden_only=True,
    ),
    Wrong(
        name="a join without a second fragment",
        cell="places",
        code="""
def places(chunks, root):
    def joins(chunk):
        return chunk.kind not in ("fragment", "other")

    left = chunks if root is None else chunks[:root]
    right = [] if root is None else chunks[root + 1 :]
    things = [c.text for c in left if c.kind == "fragment"] + [None, None]
    two = next((c.text for c in left if joins(c)), None)
    five = right[0].text if right and right[0].kind == "fragment" else None
    six = seven = None
    for i, chunk in enumerate(right):
        if joins(chunk):
            six = chunk.text
            if i + 1 < len(right) and right[i + 1].kind == "fragment":
                seven = right[i + 1].text
            break
    return things[0], two, things[1], None if root is None else chunks[root].text, five, six, seven
""",
        loses=("test_places_left",),
        reveals="Puts a relation where it joins nothing; tries tidy captions only.",
        hidden_only=True,
    ),
    Wrong(
        name="words instead of lemmas",
        cell="fragment",
        code="""
def fragment(tokens):
    kept = [token.word for token in tokens if token.tag.startswith(("JJ", "NN"))]
    return " ".join(kept[-2:]) or None
""",
        loses=("test_fragment",),
        reveals="Forgets that the dictionary has one entry for dog and dogs.",
    ),
    Wrong(
        name="the examples as a table",
        cell="fragment",
        code="""
def fragment(tokens):
    return {"dog": "dog", "playhouse": "wooden playhouse", "dogs": "dog", "girl": "blond girl"}.get(
        tokens[-1].word if tokens else ""
    )
""",
        loses=("test_fragment",),
        reveals="Programs until the visible test is green.",
        hidden_only=True,
    ),
    Wrong(
        name="children's gates forgotten",
        cell="node",
        code="""
def node(x, children, W, U):
    size = len(W["i"])
    heard = sum((h for h, _, _ in children), np.zeros(size))
    i, f, o = (sigmoid(W[gate] @ x + U[gate] @ heard) for gate in "ifo")
    new = np.tanh(W["u"] @ x + U["u"] @ heard)
    c = i * new + f * sum((ck for _, ck, _ in children), np.zeros(size))
    return o * np.tanh(c), c, f
""",
        loses=("test_node_parent",),
        reveals="Writes the LSTM of a chain, where only the listener has a gate.",
    ),
    Wrong(
        name="mean of the children",
        cell="node",
        code="""
def node(x, children, W, U):
    size = len(W["i"])
    heard = np.mean([h for h, _, _ in children], axis=0) if children else np.zeros(size)
    i, f, o = (sigmoid(W[gate] @ x + U[gate] @ heard) for gate in "ifo")
    new = np.tanh(W["u"] @ x + U["u"] @ heard)
    c = i * new + f * sum((fk * ck for _, ck, fk in children), np.zeros(size))
    return o * np.tanh(c), c, f
""",
        loses=("test_node_parent",),
        reveals="Averages by habit where the equation has a sum.",
    ),
    Wrong(
        name="memory shown without tanh",
        cell="node",
        code="""
def node(x, children, W, U):
    size = len(W["i"])
    heard = sum((h for h, _, _ in children), np.zeros(size))
    i, f, o = (sigmoid(W[gate] @ x + U[gate] @ heard) for gate in "ifo")
    new = np.tanh(W["u"] @ x + U["u"] @ heard)
    c = i * new + f * sum((fk * ck for _, ck, fk in children), np.zeros(size))
    return o * c, c, f
""",
        loses=("test_node_leaf", "test_node_parent"),
        reveals="Skips eq. 11's tanh.",
    ),
    Wrong(
        name="children computed again by each parent",
        cell="whole_tree",
        code="""
def whole_tree(inputs, cell):
    children = {2: (1, 3), 6: (5, 7), 4: (2, 6)}

    def visit(place):
        return cell(inputs[place - 1], [visit(child) for child in children.get(place, ())])

    return [visit(place) for place in range(1, 8)]
""",
        loses=("test_whole_tree",),
        reveals="Recursion without memory: right, and seventeen calls for seven nodes.",
        hidden_only=True,
    ),
    Wrong(
        name="mean over the places",
        cell="node_cross_entropy",
        code="""
def node_cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=2, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    picked = np.take_along_axis(log_p, np.maximum(labels, 0)[:, :, None], axis=2)[:, :, 0]
    return -np.where(labels >= 0, picked, 0).mean(axis=1)
""",
        loses=("test_cross_entropy",),
        reveals="A library's default reduction instead of the equation's sum.",
    ),
    Wrong(
        name="overflow",
        cell="node_cross_entropy",
        code="""
def node_cross_entropy(logits, labels):
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    picked = np.take_along_axis(p, np.maximum(labels, 0)[:, :, None], axis=2)[:, :, 0]
    return -np.where(labels >= 0, np.log(picked), 0).sum(axis=1)
""",
        loses=("test_cross_entropy",),
        reveals="Writes the formula as printed and trusts floating point.",
        hidden_only=True,
    ),
]
