"""Text side of all models: word embeddings and a (bi)GRU, as one vector a caption or one a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from xmr_lib.similarity import Parts, l2norm

if TYPE_CHECKING:
    from xmr_lib.models.base import ModelConfig
    from xmr_lib.models.cross import ScanConfig
    from xmr_lib.models.dual import DualConfig

WordPooling = Literal["avg", "max"]
TextNorm = Literal["parts", "after"]


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


def rich_text_features(context: Tensor, words: Tensor | None, norm: TextNorm = "parts") -> Tensor:
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


def reversed_words(words: Tensor, lengths: Tensor) -> Tensor:
    """Captions `(n, n_words, …)` read from their last word; padding stays where it is.

    >>> reversed_words(torch.tensor([[[1], [2], [0]]]), torch.tensor([2])).flatten().tolist()
    [2, 1, 0]
    """
    n, width = words.shape[:2]
    places = torch.arange(width, device=words.device)[None]
    ends = lengths.to(words.device)[:, None]
    source = torch.where(places < ends, ends - 1 - places, places)  # (n, width)
    rows = source + torch.arange(n, device=words.device)[:, None] * width
    return words.flatten(0, 1).index_select(0, rows.flatten()).view_as(words)


def gru_states(gru: nn.GRU, words: Tensor, lengths: Tensor) -> Tensor:
    """States of a (bi)GRU of one layer at every word, `(n, n_words, directions * rnn_dim)`.

    What stands behind a caption's end is never read, and its states are zero. The result is that
    of a packed sequence. PyTorch's packed GRU on CPUs writes a gradient of the whole batch for each
    word, however; padded captions, those of the backward direction reversed, take a third less.

    Args:
        gru: With `batch_first=True`.
        words: Word embeddings `(n, n_words, word_dim)`.
        lengths: Words of each caption `(n,)`.
    """
    if words.device.type != "cpu":
        packed = pack_padded_sequence(words, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(gru(packed)[0], batch_first=True, total_length=words.shape[1])[0]
    lengths = lengths.cpu()
    states, start = [], words.new_zeros(1, len(words), gru.hidden_size)
    for weights in gru.all_weights:  # of each direction
        read = reversed_words(words, lengths) if states else words
        each, _ = torch.gru(read, start, weights, True, 1, 0.0, gru.training, False, True)
        states.append(reversed_words(each, lengths) if states else each)
    mask = word_mask(lengths, words.shape[1])[..., None]
    return torch.cat(states, dim=2).masked_fill(~mask, 0)


class EmbeddedWords(nn.Module):
    """Word embeddings and a GRU over them: what the text side of every model begins with."""

    def __init__(self, vocabulary_size: int, config: ModelConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary_size, config.word_dim)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.rnn = nn.GRU(
            config.word_dim, config.rnn_dim, batch_first=True, bidirectional=config.bidirectional
        )


class TextEncoder(EmbeddedWords):
    """Rich text representation and its projection to the joint space, `f^(T)` of RFE eqs. 7, 8."""

    def __init__(self, vocabulary_size: int, config: DualConfig) -> None:
        super().__init__(vocabulary_size, config)
        self.word_pooling, self.norm = config.word_pooling, config.norm
        self.absolute = config.similarity == "order"
        width = config.rnn_dim + (config.word_dim if config.word_pooling else 0)
        self.fc = nn.Linear(width, config.joint_dim) if config.project_text else None

    def context(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Final GRU states, forward and backward summed (RFE eqs. 4 and 5), `(n, rnn_dim)`."""
        states = gru_states(self.rnn, words, lengths)
        forward, *backward = states.chunk(1 + self.rnn.bidirectional, dim=2)
        last = (lengths - 1).to(words.device)[:, None, None].expand(-1, 1, forward.shape[2])
        final = forward.gather(1, last)[:, 0]  # (n, rnn_dim)
        return final + backward[0][:, 0] if backward else final

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


class WordStates(EmbeddedWords):
    """Words in their context: a biGRU's mean state at each word, or a GRU's state."""

    def forward(self, tokens: Tensor, lengths: Tensor) -> Parts:
        """Token ids `(n, n_words)` and lengths `(n,)` to one state a word, of any length."""
        return self.states(self.embed(tokens), lengths)

    def states(self, embedded: Tensor, lengths: Tensor) -> Parts:
        """States from word embeddings `(n, n_words, word_dim)`."""
        states = gru_states(self.rnn, embedded, lengths)
        if self.rnn.bidirectional:
            states = mean_of_directions(states)  # (n, n_words, rnn_dim)
        return Parts.from_padded(states, lengths)


class WordEncoder(WordStates):
    """Words as unit vectors, for models that compare words with regions (SCAN §3.2, SCAN-RFE).

    For SCAN-RFE (RFE §IV-C) a word's embedding joins its state, and a layer maps both to the joint
    space; there is no such layer where the joint space is exactly as large as both together.
    """

    def __init__(self, vocabulary_size: int, config: ScanConfig) -> None:
        super().__init__(vocabulary_size, config)
        self.rich, self.norm = config.rich_words is not None, config.norm
        width = config.rnn_dim + config.word_dim
        mapped = self.rich and width != config.space
        self.fc = nn.Linear(width, config.space) if mapped else None

    def forward(self, tokens: Tensor, lengths: Tensor) -> Parts:
        """Token ids `(n, n_words)` and lengths `(n,)` to unit vectors of the words."""
        embedded = self.embed(tokens)  # (n, n_words, word_dim)
        words = self.states(embedded, lengths)
        vectors = words.flat  # (words of all captions, rnn_dim)
        if self.rich:
            own = Parts.from_padded(embedded, lengths).flat
            vectors = rich_text_features(vectors, own, self.norm)
        if self.fc is not None:
            vectors = self.fc(vectors)
        return Parts(l2norm(vectors), words.starts)
