"""Writing a file whole; use `xmr_lib.files.atomic` instead."""

from pathlib import Path

from xmr_lib.files import atomic


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that it is either the old one or the whole new one."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)
