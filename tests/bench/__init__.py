"""`python -m bench`: what the kit costs, as ratios to plain code in the same run.

The plain versions are written the way the papers' equations read and the peers' code works: one
query after the other, random batches padded to their longest caption, whole tables. Both sides of
a row run in turns on the same data, and medians are compared: seconds differ between machines and
hours, ratios hardly do. Memory is that of a process of its own.
"""

from bench.attention import bench_large, bench_loss, bench_scores
from bench.reranking import bench_rerank
from bench.searching import bench_search
from bench.structures import bench_structures
from bench.training import bench_extraction, bench_image_part, bench_ranks, bench_training

PARTS = {
    "scores": bench_scores,
    "loss": bench_loss,
    "training": bench_training,
    "structures": bench_structures,
    "image-part": bench_image_part,
    "ranks": bench_ranks,
    "rerank": bench_rerank,
    "large": bench_large,
    "search": bench_search,
    "extraction": bench_extraction,
}
