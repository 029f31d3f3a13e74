"""Text side of all models: word embeddings and a (bi)GRU, as one vector a caption or one a word."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from xmr_lib.similarity import Parts, l2norm

WordPooling = Literal["avg", "max"]


def word_mask(lengths: Tensor, width: int) -> Tensor:
    """True where a caption has a word, False on padding.

    >>> word_mask(torch.tensor([2, 1]), width=3)
    tensor([[ True,  True, False],
            [ True, False, False]])
    """
    return torch.arange(width, device=lengths.device)[None] < lengths[:, None]


def pool_words(words: Tensor, mask: Tensor, how: WordPooling = "avg") -> Tensor:
    """`Pool_avg(Emb)` of RFE eq. 6 (or its max form); padding never counts.

    Args:
        words: Word embeddings `(n, n_words, d)`.
        mask: True on real words `(n, n_words)`, at least one a row.
        how: "avg" or "max".

    Returns:
        `(n, d)`.

    >>> words = torch.tensor([[[1.0], [3.0], [99.0]]])
    >>> pool_words(words, torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    mask = mask[..., None]
    if how == "max":
        return words.masked_fill(~mask, float("-inf")).amax(1)
    return words.masked_fill(~mask, 0).sum(1) / mask.sum(1)


def rich_text_features(
    context: Tensor, words: Tensor | None, norm: Literal["parts", "after"] = "parts"
) -> Tensor:
    """Joins a caption's context with its pooled words (RFE eq. 6).

    Args:
        context: `h_forward + h_backward`, or the last GRU state, `(n, rnn_dim)`.
        words: Pooled word embeddings `(n, word_dim)`, or None for variants without them.
        norm: "parts" normalises each part before joining (eq. 6); "after" normalises the joined
            vector, as the paper's text says.

    Returns:
        `T_fea`, `(n, rnn_dim + word_dim)`.

    >>> rich_text_features(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0]]))
    tensor([[0.6000, 0.8000, 1.0000]])
    """
    parts = [context] if words is None else [context, words]
    if norm == "after":
        return l2norm(torch.cat(parts, dim=1))
    return torch.cat([l2norm(part) for part in parts], dim=1)


class TextEncoder(nn.Module):
    """Rich text representation and its projection to the joint space, `f^(T)` of RFE eqs. 7, 8.

    Args:
        vocabulary_size: Number of words, with the four special ones.
        word_dim: Size of a word embedding.
        rnn_dim: Size of a GRU state.
        joint_dim: Size of the joint space.
        bidirectional: biGRU whose final states are summed (eqs. 4 and 5), else a GRU's last state.
        word_pooling: How word embeddings join in; None leaves them out (VSE++, avg-4-BiGRU).
        norm: See `rich_text_features`.
        project: A fully connected layer maps `T_fea` to the joint space. VSE++ has none: its GRU
            state is the embedding.
        layers: GRU layers.
        absolute: Non-negative embeddings, for the order similarity.
    """

    def __init__(
        self,
        vocabulary_size: int,
        word_dim: int,
        rnn_dim: int,
        joint_dim: int,
        bidirectional: bool = False,
        word_pooling: WordPooling | None = None,
        norm: Literal["parts", "after"] = "parts",
        project: bool = True,
        layers: int = 1,
        absolute: bool = False,
    ) -> None:
        super().__init__()
        if not project and (word_pooling is not None or rnn_dim != joint_dim):
            raise ValueError("without projection the GRU state itself must be the joint embedding")
        self.word_pooling, self.norm, self.absolute = word_pooling, norm, absolute
        self.embed = nn.Embedding(vocabulary_size, word_dim)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.rnn = nn.GRU(word_dim, rnn_dim, layers, batch_first=True, bidirectional=bidirectional)
        width = rnn_dim + (word_dim if word_pooling else 0)
        self.fc = nn.Linear(width, joint_dim) if project else None

    def context(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Final GRU states, forward and backward summed (RFE eqs. 4 and 5), `(n, rnn_dim)`.

        Args:
            words: Word embeddings `(n, n_words, word_dim)`.
            lengths: Words of each caption `(n,)`; what lies behind them is never read.
        """
        packed = pack_padded_sequence(words, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, final = self.rnn(packed)  # (layers * directions, n, rnn_dim)
        return final[-2] + final[-1] if self.rnn.bidirectional else final[-1]

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Token ids `(n, n_words)` and lengths `(n,)` to unit vectors `(n, joint_dim)`."""
        words = self.embed(tokens)  # (n, n_words, word_dim), RFE eq. 3
        pooled = None
        if self.word_pooling:
            mask = word_mask(lengths, tokens.shape[1])
            pooled = pool_words(words, mask, self.word_pooling)  # (n, word_dim)
        features = rich_text_features(self.context(words, lengths), pooled, self.norm)
        embedded = features if self.fc is None else l2norm(self.fc(features))
        return embedded.abs() if self.absolute else embedded


def mean_of_directions(states: Tensor) -> Tensor:
    """A word in its context: mean of both directions' states (SMFEA eq. 4, and SCAN's code).

    Args:
        states: Forward and backward states side by side, `(n, n_words, 2 * rnn_dim)`.

    Returns:
        `(n, n_words, rnn_dim)`.
    """
    forward, backward = states.chunk(2, dim=2)
    return (forward + backward) / 2


class WordEncoder(nn.Module):
    """Words in their context, for models that compare words with regions (SCAN §3.2, SCAN-RFE).

    Args:
        vocabulary_size: Number of words, with the four special ones.
        word_dim: Size of a word embedding.
        rnn_dim: Size of a GRU state.
        joint_dim: Size of the joint space.
        bidirectional: Mean of the states of both directions at each word, else a GRU's states.
        rich: SCAN-RFE (RFE §IV-C): the word's embedding joins its context, and a fully connected
            layer maps both to the joint space; without such a layer where the joint space is
            exactly as large as both together.
        norm: See `rich_text_features`; with "parts" context and embedding have an equal say.
        normalise: Unit vectors come out.
    """

    def __init__(
        self,
        vocabulary_size: int,
        word_dim: int,
        rnn_dim: int,
        joint_dim: int,
        bidirectional: bool = True,
        rich: bool = False,
        norm: Literal["parts", "after"] = "parts",
        normalise: bool = True,
    ) -> None:
        super().__init__()
        if not rich and rnn_dim != joint_dim:
            raise ValueError("without an embedding beside it, the GRU state is the joint vector")
        self.rich, self.norm, self.normalise = rich, norm, normalise
        self.embed = nn.Embedding(vocabulary_size, word_dim)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.rnn = nn.GRU(word_dim, rnn_dim, batch_first=True, bidirectional=bidirectional)
        width = rnn_dim + word_dim
        self.fc = nn.Linear(width, joint_dim) if rich and width != joint_dim else None

    def forward(self, tokens: Tensor, lengths: Tensor) -> Parts:
        """Token ids `(n, n_words)` and lengths `(n,)` to the words that are there."""
        embedded = self.embed(tokens)  # (n, n_words, word_dim)
        packed = pack_padded_sequence(
            embedded, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        if self.rnn.bidirectional:
            states = mean_of_directions(states)  # (n, longest, rnn_dim)
        words = Parts.from_padded(states, lengths)
        vectors = words.flat  # (words of all captions, rnn_dim)
        if self.rich:
            own = Parts.from_padded(embedded[:, : states.shape[1]], lengths).flat
            vectors = rich_text_features(vectors, own, self.norm)
        if self.fc is not None:
            vectors = self.fc(vectors)
        return Parts(l2norm(vectors) if self.normalise else vectors, words.starts)
