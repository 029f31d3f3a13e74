"""Growth: bounded memory, the benchmark of 100,000 captions in small, and the arithmetic."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from bench import hundred_thousand
from xmr_course import growth, growth_page

from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.index.vectors import lists_for

# --- bounded memory -------------------------------------------------------------------------------

PEAKS = """
import json
import os
from bench import hundred_thousand as bench
from bench.rows import peak_bytes

bench.reranking(20, 16), bench.ranks(20, 16)  # whatever is loaded at first use
peaks = [peak_bytes()]
for work, n_images in ((bench.reranking, 1000), (bench.reranking, 2000), (bench.ranks, 8000)):
    work(n_images, 16)
    peaks.append(peak_bytes())
print(json.dumps(peaks))
"""


def test_memory_of_reranking_and_ranks_grows_with_items_and_not_with_their_square():
    done = subprocess.run(
        [sys.executable, "-c", PEAKS],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    before, *after = json.loads(done.stdout.splitlines()[-1])
    small, large, ranks = (peak - before for peak in after)
    table = 4 * 12_000**2  # one table of all items against all
    assert large < table / 2
    assert large < 3.5 * small  # four times would be a square
    scores = 4 * 8_000 * 40_000
    assert ranks < scores / 4


def test_made_vectors_are_unit_vectors_and_captions_belong_to_their_image():
    images, captions = hundred_thousand.made_vectors(30, 64)
    assert images.shape == (30, 64) and captions.shape == (150, 64)
    for vectors in (images, captions):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    own = (images.repeat_interleave(5, dim=0) * captions).sum(dim=1)
    others = (images @ captions.T).mean(dim=0)
    assert (own > others + 0.1).all()
    again = hundred_thousand.made_vectors(30, 64)
    torch.testing.assert_close(again[1], captions, rtol=0, atol=0)


# --- the benchmark --------------------------------------------------------------------------------


@pytest.fixture
def frame(monkeypatch):
    """The benchmark at toy sizes, in this process."""

    def here(module, function, **arguments):
        if function == "evaluate_some_tiles":
            return {"seconds": 5.0, "all_tiles": 1600, "peak": 6e9}
        assert module == hundred_thousand.__name__
        return {**getattr(hundred_thousand, function)(**arguments), "peak": 3e9}

    monkeypatch.setattr(hundred_thousand, "in_own_process", here)
    return hundred_thousand.measure(n_images=(8, 20), tiles=3, n_encoded=4)


def test_the_benchmark_of_100_000_captions_runs_in_small(frame):
    assert len(frame) == 2 * 2 * 2 + 2 * 2 + 1 + 2
    assert (frame["seconds"] > 0).all() and (frame["threads"] >= 1).all()
    ranks = frame[frame["work"] == hundred_thousand.RANKS]
    assert ranks[["images", "captions", "dims"]].to_numpy().tolist() == [
        [8, 40, 256],
        [20, 100, 256],
        [8, 40, 1024],
        [20, 100, 1024],
    ]
    assert ranks["met"].all() and (ranks["limit_megabytes"] == 4000).all()
    scan = frame[frame["work"].str.contains("SCAN")]
    assert (scan["how"] == "time extrapolated from 3 of 1,600 tiles").all()
    assert (frame[~frame["work"].str.contains("SCAN")]["how"] == "measured").all()
    assert scan["met"].isna().all()


def test_the_limit_of_memory_can_be_missed(monkeypatch):
    found = {"seconds": 1.0, "cpu_seconds": 1.0, "input": 1e9, "peak": 4.1e9}
    monkeypatch.setattr(hundred_thousand, "in_own_process", lambda *_, **__: found)
    frame = hundred_thousand.measure(n_images=(8,), dims=(16,), tiles=0)
    assert frame["met"].tolist()[:2] == [False, False]


def test_one_of_a_hundred_queries_is_told_in_seconds_of_one(monkeypatch):
    monkeypatch.setattr(
        hundred_thousand, "_timed", lambda work: {"seconds": 5.0, "cpu_seconds": 4.0, "input": 7.0}
    )
    found = hundred_thousand.search(n=10, dim=4, queries=100, repeats=2)
    assert found == {"seconds": 0.05, "cpu_seconds": 0.04, "input": 7.0}


def test_its_picture_names_both_works(frame):
    memory, seconds = growth_page.plot_measured(frame).axes
    labels = [text.get_text() for text in memory.get_legend().get_texts()]
    assert labels == [
        "ranks, 256 numbers",
        "ranks, 1024 numbers",
        "re-ranking, 256 numbers",
        "re-ranking, 1024 numbers",
    ]
    assert "GB" in memory.get_ylabel() and "CPU" in seconds.get_ylabel()


# --- sizes, by hand -------------------------------------------------------------------------------


def test_bytes_of_vectors():
    assert growth.vector_bytes(100_000, 1024) == 409_600_000
    assert growth.vector_bytes(3, 2, "float16") == 12
    assert growth.vector_bytes(3, 2, "int8") == 6
    with pytest.raises(UnknownNameError, match="float32"):
        growth.vector_bytes(1, 1, "float33")
    assert growth.feature_bytes(1) == 30_720  # 2 × 3,840 numbers of four bytes
    assert growth.region_bytes(1) == 147_456  # 36 × 2,048 numbers of two bytes
    assert growth.pq_bytes(10, code=8) == 80


def test_bytes_of_indexes():
    assert growth.hnsw_bytes(1, dims=1024, links=32) == 4096 + 256
    assert growth.hnsw_bytes(10, dims=2, links=4) == 10 * (8 + 32)
    # 40,000 vectors are divided among 400 lists, each with a centroid of two numbers
    assert growth.ivf_bytes(40_000, dims=2) == 40_000 * (8 + 8) + 400 * 8
    # and for codes there are 256 centroids more
    assert growth.ivf_pq_bytes(40_000, dims=2, code=1) == 40_000 * (1 + 8) + 400 * 8 + 256 * 8
    assert growth.diskann_memory_bytes(1000, dims=4) == 3600  # 0.225 of 16,000
    # 1,024 numbers and 57 more of four bytes: 4,324 bytes, which two sectors hold
    assert growth.diskann_disk_bytes(10, dims=1024) == 10 * 8192
    # 256 numbers: 1,252 bytes, three in a sector, four sectors for ten
    assert growth.diskann_disk_bytes(10, dims=256) == 4 * 4096


def test_formulas_against_indexes_that_faiss_makes():
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((12_000, 32)).astype(np.float32)
    graph = faiss.IndexHNSWFlat(32, 32)
    graph.hnsw.efConstruction = 8  # as large as one that finds more
    graph.add(vectors)
    n_lists = lists_for(len(vectors))
    assert n_lists > 0
    quantizer = faiss.IndexFlatL2(32)
    lists = faiss.IndexIVFFlat(quantizer, 32, n_lists)
    codes = faiss.IndexIVFPQ(quantizer, 32, n_lists, 16, 8)
    for index in (lists, codes):
        index.cp.niter = 1
        index.train(vectors)
        index.add(vectors)
    for index, expected in (
        (graph, growth.hnsw_bytes(12_000, 32)),
        (lists, growth.ivf_bytes(12_000, 32)),
        (codes, growth.ivf_pq_bytes(12_000, 32, code=16)),
    ):
        assert len(faiss.serialize_index(index)) == pytest.approx(expected, rel=0.06)


def test_machines():
    assert growth.machines(0) == 1
    assert growth.machines(70, ram=100) == 1
    assert growth.machines(71, ram=100) == 2
    assert growth.machines(435.2e9, ram=64e9) == 10  # 44.8 GB each may be filled


def test_the_index_is_the_simplest_that_does():
    assert growth.recommended_index(100_000, 1024, query_seconds=0.02) == "exact"
    assert growth.recommended_index(1_000_000, 1024, query_seconds=0.2) == "faiss, IVF"
    # quick enough, but the vectors do not fit, and neither do lists of them
    assert "DISKANN" in growth.recommended_index(10_000_000, 1024, 0.01, ram=32e9)
    # 41 GB fit in 0.7 · 64 GB, 45 do not
    assert growth.recommended_index(10_000_000, 1024, 2.0) == "faiss, IVF"
    assert "DISKANN" in growth.recommended_index(11_000_000, 1024, 2.0)


# --- the plan -------------------------------------------------------------------------------------

RATES = growth.Rates(
    dims=4,
    one_query=1e3,
    pair_seconds=1e-3,
    item_pair_seconds=1e-2,
    item_bytes=10,
    captions=5,
    photos=2,
    source="by hand",
)


def test_a_plan_by_hand():
    plan = growth.plan(1000, RATES, workers=2)
    assert (plan.captions, plan.images) == (1000, 200)
    assert plan.vectors_float32 == 16_000 and plan.vectors_int8 == 4_000
    assert plan.exact_products == 4000 and plan.exact_seconds == 4
    assert plan.caption_seconds == 100  # 1,000 at 5 a second, by two
    assert plan.photo_seconds == 50
    assert plan.evaluation_pairs == 200_000 and plan.evaluation_seconds == 200
    # vectors of 1,200 items, and one tile of 200 × 1,000
    assert plan.evaluation_memory == 19_200 + 800_000
    assert plan.reranking_seconds == pytest.approx(14_400)  # 1,200² hundredths of a second
    assert plan.reranking_memory == 19_200 + 12_000
    assert plan.index == "faiss, IVF" and plan.machines == 1
    assert plan.note == "arithmetic, not measured"
    assert growth.plan(1001, RATES).images == 201


def test_a_cluster_holds_codes_in_memory():
    plan = growth.plan(1000, RATES, ram=2e3)  # 1,400 bytes a machine
    assert plan.index == "Milvus, DISKANN"
    assert plan.diskann == 3600 and plan.machines == 3


def test_the_page_is_marked_as_arithmetic():
    page = growth_page.table(RATES, sizes=(1000, 10_000_000), workers=2)
    assert page.index.name == "arithmetic, not measured"
    assert list(page.columns) == ["1,000 captions", "10,000,000 captions"]
    assert page.loc["encoding the captions, 2 workers", "1,000 captions"] == "1.7 min"
    assert page.loc["vectors, float32", "10,000,000 captions"] == "160 MB"
    assert page.loc["machines of 64 GB", "1,000 captions"] == "1"
    assert not page.isna().any(axis=None)


def test_words_for_sizes_and_durations():
    assert growth_page.size(0) == "0 MB" and growth_page.size(999.7e9) == "1,000 GB"
    assert growth_page.duration(59.94) == "59.9 s" and growth_page.duration(86400) == "1.0 days"
    assert growth_page.duration(3600) == "1.0 h" and growth_page.duration(0.0004) == "0 ms"


def bench_files(folder, dims=1024):
    common = {"machine": "a machine", "date": "2026-11-25", "dims": dims}
    rows = [
        {"work": "ranks and recalls, both ways", "images": 10, "captions": 50, "cpu_seconds": 9.0},
        {"work": "ranks and recalls, both ways", "images": 20, "captions": 100, "cpu_seconds": 4.0},
        {
            "work": "re-ranking, both ways, and ranks",
            "images": 20,
            "captions": 100,
            "cpu_seconds": 144.0,
            "megabytes": 1.36,
            "input_megabytes": 1.0,
        },
        {"work": "exact search, one query", "captions": 100, "cpu_seconds": 0.5},
        {"work": "encoding captions, RFE", "captions": 64, "cpu_seconds": 2.0},
    ]
    pd.DataFrame([row | common for row in rows]).to_csv(folder / "bench_100k.csv", index=False)
    extraction = {"work": "extraction of 256 JPEGs, efficientnet-lite0", "ours": 8.0}
    pd.DataFrame([{"work": "x", "ours": 1}, extraction]).to_csv(folder / "bench.csv", index=False)


def test_rates_come_from_the_largest_rows_that_were_measured(tmp_path):
    bench_files(tmp_path)
    rates = growth.measured(folder=tmp_path)
    assert rates.one_query == 100 * 1024 / 0.5
    assert rates.pair_seconds == pytest.approx(0.002)
    assert rates.item_pair_seconds == pytest.approx(0.01)
    assert rates.item_bytes == pytest.approx(3000)
    assert rates.captions == 32 and rates.photos == 16  # of one core; two took 8 s
    assert rates.source == "a machine, 2026-11-25"


def test_missing_measurements_are_told(tmp_path):
    with pytest.raises(DataError, match="bench 100k"):
        growth.measured(folder=tmp_path)
    bench_files(tmp_path)
    with pytest.raises(DataError, match="1024 numbers, none of 384"):
        growth.measured(dims=384, folder=tmp_path)
    (tmp_path / "bench.csv").unlink()
    with pytest.raises(DataError, match=r"bench`"):
        growth.measured(folder=tmp_path)
    bench_files(tmp_path)
    large = pd.read_csv(tmp_path / "bench_100k.csv")
    large[large["captions"] != 64].to_csv(tmp_path / "bench_100k.csv", index=False)
    with pytest.raises(DataError, match="encoding captions"):
        growth.measured(folder=tmp_path)


def test_the_picture_of_memory_says_that_it_is_arithmetic():
    (axes,) = growth_page.plot_memory(RATES).axes
    assert "arithmetic, not measured" in axes.get_title() and "4 numbers" in axes.get_title()
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names[0] == "HNSW (M = 32)" and len(names) == 5
    line = next(each for each in axes.lines if each.get_label() == "HNSW (M = 32)")
    assert line.get_xdata()[[0, -1]].tolist() == [100_000, 100_000_000]
    assert line.get_ydata()[-1] == pytest.approx(1e8 * (16 + 256) / 1e9)
