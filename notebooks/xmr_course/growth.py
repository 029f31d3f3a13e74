"""From 100,000 captions to 100 million: sizes, index types, machines and hours, by arithmetic.

Nothing here was run at these sizes. Every number is a product of a few others: the bytes of a
vector, and the seconds that a pair of vectors, a caption or a photo took where it was measured
(`python -m bench 100k`, at 100,000 captions). To plan your own machine, use your own `Rates`.

>>> hnsw_bytes(1_000_000, dims=1024) / 1e9
4.352
>>> machines(hnsw_bytes(100_000_000, dims=1024), ram=64e9)
10
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.index.vectors import lists_for

NOTE = "arithmetic, not measured"
SIZES = (100_000, 1_000_000, 10_000_000, 100_000_000)  # captions
BYTES = {"float32": 4, "float16": 2, "int8": 1}
USABLE = 0.7  # of a machine's memory; the rest is for queries, updates and the system
PATIENCE = 0.1  # seconds that one query may take on one core before an index is worth its trouble


# --- sizes ----------------------------------------------------------------------------------------


def vector_bytes(n: int, dims: int, number: str = "float32") -> int:
    """Vectors as they are: `n · d` numbers. An exact index holds nothing else.

    Args:
        n: Vectors.
        dims: Numbers in a vector.
        number: "float32", "float16" or "int8".

    Raises:
        UnknownNameError: There is no such number.
    """
    if number not in BYTES:
        raise UnknownNameError("kind of number", number, BYTES)
    return n * dims * BYTES[number]


def feature_bytes(n_images: int, columns: int = 2 * 3840) -> int:
    """Cached features of images: average and maximum of ResNet's C1–C4 (3,840 channels)."""
    return vector_bytes(n_images, columns)


def region_bytes(n_images: int, regions: int = 36, dims: int = 2048) -> int:
    """Regions of images in float16, as many as bottom-up attention gives."""
    return vector_bytes(n_images * regions, dims, "float16")


def hnsw_bytes(n: int, dims: int, links: int = 32) -> int:
    """HNSW (float32) in memory: `n · (4d + 2M · 4)`.

    Each vector has `M` links on every level of the graph and twice as many on the lowest, four
    bytes each. The upper levels, which one vector in `M` reaches, are left out.

    Args:
        n: Vectors.
        dims: Numbers in a vector.
        links: `M`.
    """
    return n * (4 * dims + 2 * links * 4)


def ivf_bytes(n: int, dims: int) -> int:
    """Inverted lists (IVF, float32) in memory, as `search --index faiss` has them.

    Vectors, a number of eight bytes for each, and a centroid for each list.

    Args:
        n: Vectors.
        dims: Numbers in a vector.
    """
    return vector_bytes(n, dims) + 8 * n + vector_bytes(lists_for(n), dims)


def pq_bytes(n: int, code: int = 64) -> int:
    """Product-quantised codes: `code` bytes per vector, one for each of its `code` pieces."""
    return n * code


def ivf_pq_bytes(n: int, dims: int, code: int = 64) -> int:
    """The same lists of codes (IVF-PQ): with codes in the place of vectors, and their codebooks.

    Args:
        n: Vectors.
        dims: Numbers in a vector.
        code: Bytes of a code, one for each piece of the vector.
    """
    codebooks = vector_bytes(256, dims)  # 256 centroids of each piece, and d numbers in all pieces
    return pq_bytes(n, code) + 8 * n + vector_bytes(lists_for(n), dims) + codebooks


def diskann_memory_bytes(n: int, dims: int, codes: float = 0.125, cached: float = 0.1) -> int:
    """DISKANN in memory: codes and cached nodes, as shares of the vectors (Milvus's defaults)."""
    return round((codes + cached) * vector_bytes(n, dims))


def diskann_disk_bytes(n: int, dims: int, links: int = 56, sector: int = 4096) -> int:
    """DISKANN on disk: each vector with its links, and none across more sectors than necessary.

    Args:
        n: Vectors.
        dims: Numbers in a vector, of four bytes.
        links: Links of a node (Milvus: 56), of four bytes, beside their number.
        sector: Bytes that a disk reads at once.
    """
    node = 4 * dims + 4 * (links + 1)
    if node > sector:
        return n * math.ceil(node / sector) * sector
    return math.ceil(n / (sector // node)) * sector


def machines(n_bytes: float, ram: float = 64e9, usable: float = USABLE) -> int:
    """How many machines hold `n_bytes` together, at least one.

    Args:
        n_bytes: To be held in memory.
        ram: Bytes of one machine's memory.
        usable: The share of it that may be filled.
    """
    return max(1, math.ceil(n_bytes / (usable * ram)))


def recommended_index(n: int, dims: int, query_seconds: float, ram: float = 64e9) -> str:
    """The simplest index that is fast enough: exact, lists on one machine, or Milvus on disks.

    Exact search is always right, so it stays until a query takes longer than `PATIENCE`. Lists
    (IVF), or a graph (HNSW) of about the same size, find nearly all of it, while they fit in one
    machine's memory. What is larger stays on disks, of one machine or of several (DISKANN), or
    becomes codes (IVF-PQ), which find less.

    Args:
        n: Vectors.
        dims: Numbers in a vector.
        query_seconds: What an exact search for one query takes.
        ram: Bytes of one machine's memory.
    """
    if query_seconds <= PATIENCE and machines(vector_bytes(n, dims), ram) == 1:
        return "exact"
    return "faiss, IVF" if machines(ivf_bytes(n, dims), ram) == 1 else "Milvus, DISKANN"


# --- time -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rates:
    """What was measured, for one core and vectors of one length.

    Attributes:
        dims: Numbers in a vector.
        one_query: Multiply-adds a second when one query meets all vectors; memory bounds it.
        pair_seconds: Of a pair of an image and a caption in an evaluation, both ways.
        item_pair_seconds: Of a pair of items in re-ranking: its seconds over the items' square.
        item_bytes: Memory that re-ranking takes for an item, beside its vector.
        captions: Captions encoded a second.
        photos: Photos whose features are extracted, a second.
        source: Where and when that was measured.
    """

    dims: int
    one_query: float
    pair_seconds: float
    item_pair_seconds: float
    item_bytes: float
    captions: float
    photos: float
    source: str


def exact_products(n: int, dims: int) -> int:
    """Multiply-adds of one query against all vectors."""
    return n * dims


def evaluation_pairs(n_images: int, n_captions: int) -> int:
    """Pairs of an evaluation: every image meets every caption."""
    return n_images * n_captions


def evaluation_bytes(n_images: int, n_captions: int, dims: int, block: int = 500) -> int:
    """Memory of an evaluation: vectors, and the tiles on the diagonal, which are kept.

    Args:
        n_images: Images.
        n_captions: Captions, as many for each image.
        dims: Numbers in a vector.
        block: Images of a tile.
    """
    return vector_bytes(n_images + n_captions, dims) + 4 * min(block, n_images) * n_captions


def encode_seconds(n: int, rate: float, workers: int = 1) -> float:
    """Seconds that `workers` (cores or GPUs), at `rate` items per second each, need for `n`."""
    return n / (rate * workers)


# --- the plan -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """One size, worked out: sizes in bytes, times in seconds, none of it measured."""

    captions: int  # what is searched: there are more of them than of images
    images: int
    vectors_float32: int  # the captions'
    vectors_float16: int
    vectors_int8: int
    pq_codes: int  # of 64 bytes
    features: int  # cached, of the images
    regions: int
    exact_products: int  # multiply-adds of one query
    exact_seconds: float  # what they take on one core
    ivf: int  # in memory, as the next three
    hnsw: int
    ivf_pq: int
    diskann: int
    diskann_disk: int
    index: str  # recommended
    machines: int  # that its memory takes
    caption_seconds: float  # until all workers together have encoded the captions
    photo_seconds: float  # and extracted the photos' features
    evaluation_pairs: int  # images × captions
    evaluation_seconds: float  # on one core, as re-ranking
    evaluation_memory: int
    reranking_seconds: float
    reranking_memory: int
    note: str = NOTE


def plan(
    n_captions: int,
    rates: Rates,
    captions_per_image: int = 5,
    ram: float = 64e9,
    workers: int = 1,
) -> Plan:
    """What so many captions take.

    Args:
        n_captions: Captions; they are what is searched, there being more of them than of images.
        rates: What was measured, see `measured`; it says how long a vector is.
        captions_per_image: Captions of an image.
        ram: Bytes of one machine's memory.
        workers: Cores, or GPUs if `rates` are a GPU's, that encode.
    """
    n, d = n_captions, rates.dims
    n_images = math.ceil(n / captions_per_image)
    query = exact_products(n, d) / rates.one_query
    index = recommended_index(n, d, query, ram)
    memory = {"exact": vector_bytes(n, d), "faiss, IVF": ivf_bytes(n, d)}
    pairs, items = evaluation_pairs(n_images, n), n_images + n
    return Plan(
        captions=n,
        images=n_images,
        vectors_float32=vector_bytes(n, d),
        vectors_float16=vector_bytes(n, d, "float16"),
        vectors_int8=vector_bytes(n, d, "int8"),
        pq_codes=pq_bytes(n),
        features=feature_bytes(n_images),
        regions=region_bytes(n_images),
        exact_products=exact_products(n, d),
        exact_seconds=query,
        ivf=ivf_bytes(n, d),
        hnsw=hnsw_bytes(n, d),
        ivf_pq=ivf_pq_bytes(n, d),
        diskann=diskann_memory_bytes(n, d),
        diskann_disk=diskann_disk_bytes(n, d),
        index=index,
        machines=machines(memory.get(index, diskann_memory_bytes(n, d)), ram),
        caption_seconds=encode_seconds(n, rates.captions, workers),
        photo_seconds=encode_seconds(n_images, rates.photos, workers),
        evaluation_pairs=pairs,
        evaluation_seconds=pairs * rates.pair_seconds,
        evaluation_memory=evaluation_bytes(n_images, n, d),
        reranking_seconds=items**2 * rates.item_pair_seconds,
        reranking_memory=vector_bytes(items, d) + round(items * rates.item_bytes),
    )


def measured(dims: int = 1024, folder: Path | None = None) -> Rates:
    """Rates of one core, from `bench_100k.csv` and `bench.csv`.

    Args:
        dims: Length of the vectors, one that was measured.
        folder: Of the files; None for those that come with the kit.

    Raises:
        DataError: A file is missing, or nothing was measured for such vectors.
    """
    folder = folder or Path(__file__).parents[2] / "figures"
    frames = {}
    for name, part in (("bench_100k.csv", " 100k"), ("bench.csv", "")):
        if not (folder / name).is_file():
            command = f"python -m bench{part}"
            raise DataError(f"{folder / name} is missing: `{command}`, or your own growth.Rates.")
        frames[name] = pd.read_csv(folder / name)
    large, all_rows = frames.values()
    if dims not in set(large["dims"]):
        known = ", ".join(map(str, sorted(set(large["dims"]))))
        raise DataError(f"Measured were vectors of {known} numbers, none of {dims}.")

    def last(work: str, some: pd.DataFrame) -> pd.Series:
        found = some[some["work"].str.startswith(work)]
        if found.empty:
            raise DataError(f"bench_100k.csv has no row of {work!r}: measure it again.")
        return found.loc[found["captions"].idxmax()]

    these = large[large["dims"] == dims]
    ranks, reranking = last("ranks and recalls", these), last("re-ranking", these)
    query, encoding = last("exact search, one query", these), last("encoding captions", large)
    items = reranking["images"] + reranking["captions"]
    extraction = all_rows[all_rows["work"].str.startswith("extraction of")].iloc[0]
    n_photos = int(extraction["work"].split()[2])
    return Rates(
        dims=dims,
        one_query=query["captions"] * dims / query["cpu_seconds"],
        pair_seconds=ranks["cpu_seconds"] / (ranks["images"] * ranks["captions"]),
        item_pair_seconds=reranking["cpu_seconds"] / items**2,
        item_bytes=1e6 * (reranking["megabytes"] - reranking["input_megabytes"]) / items,
        captions=encoding["captions"] / encoding["cpu_seconds"],
        photos=n_photos / extraction["ours"] / 2,  # measured with two cores
        source=f"{ranks['machine']}, {ranks['date']}",
    )
