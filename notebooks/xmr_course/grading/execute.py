"""Runs a submission in a process of its own: `python -m xmr_course.grading.execute`.

The notebook comes on standard input and goes, executed, to standard output. This process knows
neither the course's folder nor other students' work, and writes no marks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from xmr_course.grading.course import Notebook
from xmr_lib.errors import DataError

STARTING = 120  # seconds for the start of Python and of the kernel


def execute(notebook: Notebook, settings: dict[str, Any], run_as: str | None = None) -> Notebook:
    """Runs all cells of a notebook; returns it with outputs.

    Args:
        notebook: Of a student; locked cells are those of the course.
        settings: Traits of `nbgrader.preprocessors.Execute`.
        run_as: Account under which it runs; needs the rights of root.

    Raises:
        RuntimeError: It does not run to its end; the message says why.
    """
    limit = STARTING + settings["timeout"] * (1 + len(notebook["cells"]))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "JUPYTER_NO_CONFIG": "1"}
        environment.setdefault("OMP_NUM_THREADS", "1")  # small tensors; kernels run side by side
        paths = [str(Path(each).resolve()) for each in sys.path if each]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        account: dict[str, Any] = {}
        if run_as is not None:
            Path(folder).chmod(0o777)
            environment |= {"HOME": folder, "TMPDIR": folder}
            account = {"user": run_as, "group": _group_of(run_as), "extra_groups": []}
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__],
                input=json.dumps({"notebook": notebook, "settings": settings}),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                cwd=folder,
                env=environment,
                timeout=limit,
                start_new_session=True,
                **account,
            )
            executed = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"stopped after {limit} seconds") from None
        except json.JSONDecodeError:
            raise RuntimeError(_reason(done.stderr, done.returncode)) from None
    if [c["source"] for c in executed["cells"]] != [c["source"] for c in notebook["cells"]]:
        raise RuntimeError("the cells were changed while they ran")
    return executed


def require_account(run_as: str | None) -> None:
    """Checks that an account can run this Python, before anything is graded.

    Raises:
        DataError: It cannot; the message says why.
    """
    if run_as is None:
        return
    try:
        account = {"user": run_as, "group": _group_of(run_as), "extra_groups": []}
        subprocess.run([sys.executable, "-c", ""], check=True, cwd="/", **account)
    except (ImportError, KeyError, OSError, subprocess.CalledProcessError) as error:
        raise DataError(
            f"--run-as {run_as}: this account cannot run {sys.executable} ({error}). "
            "It must exist, you must be root, and everybody must be allowed to read Python."
        ) from error


def _group_of(user: str) -> int:
    import pwd  # Unix alone has it

    return pwd.getpwnam(user).pw_gid


def _reason(said: str, code: int) -> str:
    """What an error output is about: the last exception in it, else the exit code."""
    errors = [line for line in said.splitlines() if line.split(":")[0].endswith("Error")]
    return errors[-1][:160] if errors else f"its process ended with code {code}"


def main() -> None:
    """Runs the notebook of standard input."""
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever is printed on the way is not the answer
    import nbformat
    from nbgrader.preprocessors import Execute

    given = json.load(sys.stdin)
    notebook = nbformat.from_dict(given["notebook"])
    Execute(**given["settings"]).preprocess(notebook, {"metadata": {"path": "."}})
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        out.write(json.dumps(notebook))


if __name__ == "__main__":
    main()
