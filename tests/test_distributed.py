"""Two processes on this machine's CPU (gloo) train what one process trains, and nothing less."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import distributed_worker as worker
import psutil
import pytest
import torch
from made_data import STAGE_DIMS, TINY, never
from safetensors.torch import load_file

from xmr_lib import distributed, models, runs, training
from xmr_lib.data.batches import Batch, LengthBatches
from xmr_lib.errors import DataError
from xmr_lib.sources import DataSource

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this PyTorch cannot join processes (no gloo)",
)

FOLDER = Path(__file__).parent
CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # float64
# Batch normalisation takes the biases before it away again: they have no gradient but rounding,
# which Adam follows all the same; and the running means contain them.
LOOSE, ROUNDING = {"rtol": 0, "atol": 1e-6}, (".0.bias", ".1.running_mean")


def torchrun(*arguments: str, n: int = 2) -> subprocess.Popen:
    """Starts processes as `torchrun` does, one thread each."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(FOLDER), str(FOLDER.parent)]),
    }
    if os.name == "nt":
        environment["USE_LIBUV"] = "0"
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(n),
            *arguments,
        ],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen, seconds: float = 240) -> str:
    """Waits for the end and returns what was printed; never longer than `seconds`."""
    try:
        said = process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends the others
        raise
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict]:
    """What process 0 and process 1 found."""
    folder = tmp_path_factory.mktemp("two")
    finish(torchrun(str(FOLDER / "distributed_worker.py"), str(folder)))
    return [torch.load(folder / f"results-{i}.pt", weights_only=True) for i in range(2)]


def assert_equal(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = LOOSE if "consensus" in name and name.endswith(ROUNDING) else CLOSE
        torch.testing.assert_close(
            found[name], value, **tolerance, msg=lambda said, name=name: f"{name}: {said}"
        )


# Gathering ---------------------------------------------------------------------------------------


def test_rows_come_in_the_order_of_the_processes(two):
    for process in two:
        found = process["gathering"]
        for kind in ("whole", "detached"):
            assert torch.equal(found[kind], worker.ROWS)
        assert found["numbers"].tolist() == [0, 1, 0, 1, 2]


def test_parts_of_unequal_number_are_gathered(two):
    lengths = [1, 3, 2, 1, 4]
    expected = torch.cat(
        [torch.arange(1, n + 1)[:, None] * row for row, n in zip(worker.ROWS, lengths, strict=True)]
    )
    for process in two:
        found = process["gathering"]
        assert found["starts"].tolist() == [0, 1, 4, 6, 7, 11]
        torch.testing.assert_close(found["flat"], expected)
        unit = worker.ROWS / worker.ROWS.norm(dim=1, keepdim=True)
        torch.testing.assert_close(found["vectors"], unit)


def test_gradients_flow_back_through_the_gather(two):
    """Each process has the losses of its own rows; a row's gradient is that of their sum."""
    rows = worker.ROWS.clone().requires_grad_()
    worker.toy_loss(rows).sum().backward()
    shares = rows.grad.split([2, 3])
    for process, expected in zip(two, shares, strict=True):
        found = process["gathering"]
        torch.testing.assert_close(found["whole gradient"], expected, **CLOSE)
        wrong = found["detached gradient"] / expected
        assert wrong.max() - wrong.min() > 0.1, "a detached gather is wrong by more than a factor"


def test_the_hardest_negative_may_be_anybodys(two):
    """By hand: e1, e2, (.8, .6), (.6, .8), pairs of equal vectors, margin 0.2.

    Hardest for e1 is the third (.8), so the hinge is 0.2 - 1 + 0.8 = 0; the third's is the fourth
    (.96): 0.16. Over both sides the third and the fourth give 4 · 0.16; process 1 has both, but
    process 0 can see them only through the gather.
    """
    for number, process in enumerate(two):
        found = process["hardest"]
        assert found["expected"].item() == pytest.approx(0.64)
        assert found["shared"].item() == pytest.approx(0.64)
        assert found["alone"].item() == pytest.approx((0.0, 0.64)[number])


# Ten steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", worker.CASES)
def test_ten_steps_equal_one_process_with_the_whole_batch(two, case):
    """Losses, gradients, weights and running statistics, in float64."""
    alone = worker.steps(case)
    assert [n for n, _ in alone["sizes"]] == [n for _, n in two[0][case]["sizes"]]
    for process in two:
        found = process[case]
        for step, expected in zip(found["losses"], alone["losses"], strict=True):
            assert step == pytest.approx(expected, rel=1e-9, abs=1e-10)
        assert_equal(found["grads"], alone["grads"])
        assert_equal(found["weights"], alone["weights"])
    assert alone["losses"][0] != pytest.approx(alone["losses"][-1]), "nothing was learnt"


def test_shares_are_as_the_test_needs_them(two):
    """Uneven ones in every step, and once a batch of a single pair, which both take."""
    sizes = [process["VSE++"]["sizes"] for process in two]
    assert len(sizes[0]) == 10
    assert sorted(sizes[0]) == [(1, 1), *[(15, 31)] * 9]
    assert sorted(sizes[1]) == [(1, 1), *[(16, 31)] * 9]


@pytest.mark.parametrize("mistake", ["detached", "negatives of its own only"])
def test_usual_mistakes_would_be_noticed(two, mistake):
    alone = worker.steps("VSE++")["weights"]
    for process in two:
        wrong = process[mistake]["weights"]
        apart = [float((wrong[name] - alone[name]).abs().max()) for name in alone]
        assert max(apart) > 1e-4, "ten steps at this rate move weights by up to 0.01"


# Shares ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_pairs", [3, 4, 7, 128])
def test_shares_make_up_the_batch(n_pairs):
    shares = [distributed.Share.of(n_pairs, i, 3) for i in range(3)]
    rows = [list(range(n_pairs))[share.rows] for share in shares]
    assert list(chain(*rows)) == list(range(n_pairs))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    assert {share.total for share in shares} == {n_pairs}
    assert [share.sizes[i] for i, share in enumerate(shares)] == [len(each) for each in rows]


def test_a_single_process_has_no_share():
    assert distributed.Share.of(128, 0, 1) is None
    rows = torch.ones(2, 3, requires_grad=True)
    assert Batch(torch.arange(2)).gathered(rows) is rows


@pytest.mark.parametrize("of_regions", [False, True])
def test_processes_fetch_their_share_of_the_very_same_batches(of_regions):
    whole, _ = worker.pairs_of(of_regions, 0, 1)
    parts = [worker.pairs_of(of_regions, i, 3)[0] for i in range(3)]
    for captions in LengthBatches(whole.tokens.lengths, worker.BATCH, seed=4):
        expected, found = whole.__getitems__(captions), [p.__getitems__(captions) for p in parts]
        if len(captions) < 3:
            assert all(torch.equal(batch.tokens, expected.tokens) for batch in found)
            continue
        name = "regions" if of_regions else "pooled"
        for field in ("images", "lengths", name):
            joined = torch.cat([getattr(batch, field) for batch in found])
            assert torch.equal(joined, getattr(expected, field))
        assert {batch.n_pairs for batch in found} == {len(captions)}
        moved = found[1].to("cpu")
        assert moved.share == found[1].share and torch.equal(moved.images, found[1].images)


def test_models_alone_are_untouched_by_sharing(monkeypatch):
    """Without a share nothing is sent: a collective would fail here, where nobody has joined."""

    monkeypatch.setattr(distributed.dist, "all_gather", never)
    recipe = worker.recipes.get("VSE++", "toy", **worker.SIZES)
    model = models.build(recipe.model, 9, STAGE_DIMS)
    batch = Batch(
        torch.arange(3), torch.full((3, 2), 5), torch.tensor([2, 1, 2]), torch.randn(3, 64)
    )
    assert model.loss(batch)["loss"].requires_grad


# The command -------------------------------------------------------------------------------------


def killed(command: list[str], runs_folder: Path) -> Path:
    """Starts a command in two processes, kills one of them in the middle; the run's folder."""
    process = torchrun("-m", "xmr_lib", *command)
    deadline = time.monotonic() + 300
    while not (found := list(runs_folder.glob("**/stage-1/epoch-000[2-9]"))):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    workers = sorted(psutil.Process(process.pid).children(), key=lambda child: child.pid)
    workers[-1].kill()
    said = process.communicate(timeout=240)[0]  # the other does not wait for ever
    assert process.returncode != 0, said
    return found[0].parents[1]


def test_a_killed_train_command_goes_on_in_two_processes_or_one(
    scenes, tmp_path, monkeypatch, capfd
):
    """Interrupted or not, by two or by one: the same run, but for the rounding of float32."""
    source = DataSource(str(scenes))
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XMR_RUNS", str(tmp_path / "two"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sizes = TINY | {"epochs": 12, "batch_size": 33}
    options = {"backbone": "toy", "scale": "toy", **sizes}
    command = [
        "train",
        "RFE",
        "--data",
        source.data,
        "--backbone",
        "toy",
        "--scale",
        "toy",
        "--set",
        *(f"{name}={value}" for name, value in sizes.items()),
    ]
    folder = killed(command, tmp_path / "two")
    assert not (folder / "run.json").exists()
    assert len(list(folder.glob("stage-1/*/random_states_1.pkl"))) > 0
    shutil.copytree(tmp_path / "two", tmp_path / "then-one")
    capfd.readouterr()
    distributed.launch(command, n_processes=2, cpu=True)
    said = capfd.readouterr().out
    assert said.count("Run: ") == 1 and said.count("trained in") == 1, said
    assert "Traceback" not in said

    finished = {"one": runs.run("RFE", source, root=tmp_path / "one", **options)}
    finished["then-one"] = runs.run("RFE", source, root=tmp_path / "then-one", **options)

    monkeypatch.setattr(training, "train", never)
    finished["two"] = runs.run("RFE", source, **options)
    one = load_file(finished["one"].folder / "model.safetensors")
    for name in ("two", "then-one"):
        found = load_file(finished[name].folder / "model.safetensors")
        for weight, value in one.items():
            torch.testing.assert_close(found[weight], value, rtol=1e-3, atol=1e-4, msg=weight)
        assert len(finished[name].history) == 12
        close = finished["one"].history.drop(columns="seconds")
        seen = finished[name].history.drop(columns="seconds")
        for column in ("loss", "plateau"):
            assert seen[column].tolist() == pytest.approx(close[column].tolist(), rel=1e-3)
        assert finished[name].metrics == pytest.approx(finished["one"].metrics, abs=2.1)


FAILS = r"""
import sys
print("epoch 1: 10%", end="\r")
print("error: no such recipe", file=sys.stderr)
print("E1125 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 2)")
print("Traceback: of torchrun itself")
sys.exit(2)
"""


def test_what_fails_says_why(monkeypatch, capsys):
    monkeypatch.setattr(distributed, "_command", lambda *_: [sys.executable, "-u", "-c", FAILS])
    with pytest.raises(DataError) as raised:
        distributed.launch(["train", "Nonsense"], n_processes=2, cpu=True)
    shown = [
        "`train Nonsense` in 2 processes failed (exit status 2). Its last lines:",
        "error: no such recipe",
    ]
    assert str(raised.value).splitlines() == shown
    assert capsys.readouterr().out.splitlines() == ["epoch 1: 10%", "error: no such recipe"]


def test_what_is_stopped_leaves_nothing_running(monkeypatch, tmp_path):
    """The notebook's stop button raises KeyboardInterrupt here."""
    waits = f"import os, time; print(os.getpid(), flush=True); time.sleep(600) # {tmp_path}"
    monkeypatch.setattr(distributed, "_command", lambda *_: [sys.executable, "-c", waits])
    seen = []

    def stop(line):
        seen.append(int(line))
        raise KeyboardInterrupt

    monkeypatch.setattr(distributed.sys.stdout, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        distributed.launch(["train", "RFE"], cpu=True)
    monkeypatch.undo()
    assert not psutil.pid_exists(seen[0])


def test_more_processes_than_can_work_are_refused(monkeypatch):
    with pytest.raises(DataError, match="at least 1, not 0"):
        distributed.launch(["train", "RFE"], n_processes=0)
    monkeypatch.setattr(distributed, "_has_gpus", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(DataError, match=r"4 processes for the 1 GPU\(s\)"):
        distributed.launch(["train", "RFE"], n_processes=4)
    monkeypatch.setattr(distributed, "PartialState", lambda: type("", (), {"num_processes": 4}))
    distributed.check_batch_size(4)
    with pytest.raises(DataError, match="batch of 3 pairs cannot be shared by 4 processes"):
        distributed.check_batch_size(3)


def test_processes_are_told_where_the_package_is(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = distributed._environment(n_processes=10_000, cpu=True)
    assert found["PYTHONPATH"].split(os.pathsep) == [str(FOLDER.parent), "elsewhere"]
    assert (found["OMP_NUM_THREADS"], found["ACCELERATE_USE_CPU"]) == ("1", "true")
    assert "ACCELERATE_USE_CPU" not in distributed._environment(2, cpu=False)
