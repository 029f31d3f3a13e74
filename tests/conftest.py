import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: threads only wait for one another

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory, monkeypatch):
    """No test writes runs or figures into the project."""
    folder = tmp_path_factory.mktemp("xmr")
    monkeypatch.setenv("XMR_RUNS", str(folder / "runs"))
    monkeypatch.setenv("XMR_FIGURES", str(folder / "figures"))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """A folder of sixty toy scenes; beside it, `cache` and `runs` of the tests that use it."""
    from xmr_lib import toy

    folder = tmp_path_factory.mktemp("sixty") / "toy-tiny"
    toy.draw(n_train=40, n_val=10, n_test=10, folder=folder)
    return folder


@pytest.fixture
def beside_scenes(scenes, monkeypatch):
    """Features and runs of the sixty scenes are shared by all tests."""
    monkeypatch.setenv("XMR_CACHE", str(scenes.parent / "cache"))
    monkeypatch.setenv("XMR_RUNS", str(scenes.parent / "runs"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """Runs of one epoch on 24 toy scenes (8 for the test), by recipe and seed."""
    from xmr_lib import runs, toy
    from xmr_lib.data import captioned

    folder = tmp_path_factory.mktemp("tiny")
    small = {"epochs": 1, "word_dim": 8, "rnn_dim": 16, "joint_dim": 16, "batch_size": 16}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XMR_CACHE", str(folder / "cache"))
        data = captioned.load(toy.draw(n_train=24, n_val=6, n_test=8))
        yield lambda name, seed=0: runs.run(
            name, data, scale="toy", root=folder / "runs", seed=seed, **small
        )
