"""A Jupyter server of one's own: free port, token, empty folders, and no process left behind."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

START_SECONDS = 180  # a busy machine takes its time; a good one 3
STOP_SECONDS = 30
FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
}


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        url: Its address, ending in a slash.
        token: What lets a browser in.
        root: Folder whose notebooks it serves.
    """

    url: str
    token: str
    root: Path

    def address(self, kind: str, path: str) -> str:
        """Of a notebook: `kind` is "doc/tree" in JupyterLab and "notebooks" in Notebook 7."""
        return f"{self.url}{kind}/{path}?token={self.token}"

    def ready(self, path: str) -> bool:
        """Whether a notebook's kernel is idle and a browser is connected to it.

        JupyterLab shows a kernel as idle a moment before it hears it, and drops what is run then.
        """
        kernels = [each["kernel"] for each in self._sessions() if each["path"] == path]
        return any(k["execution_state"] == "idle" and k["connections"] > 0 for k in kernels)

    def share_kernel(self, path: str, other: str) -> None:
        """Another notebook is to use a notebook's kernel, with all that this has loaded."""
        (kernel,) = [each["kernel"]["id"] for each in self._sessions() if each["path"] == path]
        wanted = {"path": other, "name": other, "type": "notebook", "kernel": {"id": kernel}}
        self._sessions(json.dumps(wanted).encode())

    def _sessions(self, new: bytes | None = None) -> Any:
        """All sessions, or the one that was made of a description."""
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        with urlopen(Request(f"{self.url}api/sessions", new, headers), timeout=10) as answer:
            return json.load(answer)

    def write(self, path: str, cells: list[Any]) -> None:
        """Writes a notebook of `nbformat` cells, or of sources of code cells."""
        import nbformat

        v4 = nbformat.v4
        made = [v4.new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = v4.new_notebook(cells=made, metadata={"kernelspec": spec})
        nbformat.write(notebook, self.root / path)


@contextmanager
def jupyter_server(folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server with JupyterLab and Notebook 7 that knows no settings of the user.

    Args:
        folder: An empty folder for all it writes, notebooks included.
        env: Environment variables for it and its kernels, besides those of this process.
    """
    places = {name: folder / place for name, place in FOLDERS.items()}
    root = folder / "notebooks"
    for place in (*places.values(), root):
        place.mkdir(parents=True)
    _no_news(places["JUPYTERLAB_SETTINGS_DIR"])
    token = secrets.token_hex(16)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
        "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0",  # any free one; it says which
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}",
        # should the tests be killed, it ends by itself
        "--ServerApp.shutdown_no_activity_timeout=600",
        "--MappingKernelManager.cull_idle_timeout=600",
        "--MappingKernelManager.cull_interval=60",
    ]  # fmt: skip
    whole = {**os.environ, **{name: str(place) for name, place in places.items()}, **(env or {})}
    log = folder / "server.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, env=whole, stdout=file, stderr=subprocess.STDOUT)
    try:
        info = _started(process, places["JUPYTER_RUNTIME_DIR"], log)
        yield Server(info["url"], token, root)
    finally:
        process.terminate()  # it stops its kernels before it goes
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _no_news(settings: Path) -> None:
    """JupyterLab shall not ask whether it may fetch news: the question covers the notebook."""
    file = settings / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    said = {"fetchNews": "false", "checkForUpdates": False}
    file.write_text(json.dumps(said), encoding="utf-8")


def _started(process: subprocess.Popen, runtime: Path, log: Path) -> dict[str, Any]:
    """What the server writes of itself once it listens."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        for file in runtime.glob("jpserver-*.json"):
            try:
                return json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                pass  # it is being written
        time.sleep(0.1)
    tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-15:])
    raise AssertionError(f"the Jupyter server did not start:\n{tail}")
