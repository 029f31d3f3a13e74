"""k-reciprocal re-ranking of Zhong et al. 2017 (RFE §IV-D.3), for images and captions.

Two items are alike when they have the same neighbours. Each is described by the neighbours that
have it as a neighbour too, and descriptions are compared by their Jaccard distance. All images and
captions of a test are neighbours of each other, so this is *transductive*: an answer depends on the
other queries of the test. A table should say so.
"""

from xmr_lib.reranking.fitted import KReciprocal, Settings, evaluate, from_distances, rerank

__all__ = ["KReciprocal", "Settings", "evaluate", "from_distances", "rerank"]
