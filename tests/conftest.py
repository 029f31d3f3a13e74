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
