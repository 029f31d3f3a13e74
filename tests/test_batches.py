import numpy as np
import torch
from made_data import make

from xmr_lib.data.batches import LengthBatches, Pairs, loader
from xmr_lib.data.vocabulary import Vocabulary


def lengths(n=5000):
    return np.random.default_rng(0).integers(4, 40, n)


def test_every_caption_comes_once_an_epoch():
    batches = list(LengthBatches(lengths(), 128, seed=1))
    assert sorted(c for batch in batches for c in batch) == list(range(5000))
    assert len(batches) == len(LengthBatches(lengths(), 128)) == 40
    assert sum(len(b) == 128 for b in batches) == 39


def test_order_depends_on_seed_and_epoch_alone():
    sampler = LengthBatches(lengths(), 128, seed=1)
    first, again = list(sampler), list(LengthBatches(lengths(), 128, seed=1))
    assert first == again
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(LengthBatches(lengths(), 128, seed=2)) != first


def padded_share(batches, of):
    rows = sum(len(b) * of[b].max() for b in map(np.array, batches))
    return 1 - of.sum() / rows


def test_little_is_padded():
    of = lengths()
    assert padded_share(LengthBatches(of, 128), of) < 0.08
    assert padded_share(LengthBatches(of, 128, pool=1), of) > 0.3


def test_negatives_stay_random():
    """Two captions of one length meet in a batch about as often as chance has it."""
    of = np.repeat([5, 9], 500)
    sampler = LengthBatches(of, 50, seed=0, pool=4)
    met = np.zeros((1000, 1000))
    epochs = 60
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for batch in sampler:
            met[np.ix_(batch, batch)] += 1
    of_one_length = met[:500, :500][~np.eye(500, dtype=bool)]
    # 500 captions in about ten batches: any two share one with probability of about 49 / 499
    expected = epochs * 49 / 499
    assert abs(of_one_length.mean() - expected) < 0.1 * expected
    assert (of_one_length > 0).mean() > 0.95


def test_pairs_are_what_they_say():
    data, features = make()
    test = data.split("test")
    vocabulary = Vocabulary.build(data.captions, threshold=1)
    pairs = Pairs(test, vocabulary.encode(test.captions), features)
    batch = pairs.__getitems__([3, 0])
    for row, caption in enumerate((3, 0)):
        image = test.image_of_caption[caption]
        assert batch.images[row] == image
        np.testing.assert_array_equal(batch.pooled[row], features[test.rows[image]])
        words = [vocabulary.words[t] for t in batch.tokens[row, : batch.lengths[row]]]
        assert " ".join(words[1:-1]) == test.captions[caption]
    assert (batch.tokens[0, batch.lengths[0] :] == 0).all()
    one = torch.stack([batch.images, batch.images])
    assert torch.equal(batch.same_image, one == one.T)


def test_loader_gives_whole_batches():
    data, features = make()
    tokens = Vocabulary.build(data.captions, threshold=1).encode(data.captions)
    sizes = [len(batch) for batch in loader(Pairs(data, tokens, features), 32, seed=0)]
    assert sum(sizes) == data.n_captions and max(sizes) == 32
