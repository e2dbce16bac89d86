"""Writing files of a report: whole or not at all, and a clear word where that is not allowed."""

import os
from pathlib import Path

from flyweight.errors import Refused
from flyweight.reasons import reason


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it; makes its folder. Refused where that can't be done."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True) if os.access(path.parent, os.W_OK) else None
        raise Refused(f"Can't write {path}: {reason(error)}. Choose another place with --out.") from error
