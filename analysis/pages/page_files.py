"""Writing the files of a page, each as a whole, with a clear word where that is not allowed."""

from pathlib import Path

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason
from floodtest.flyweight.machine.whole_file import replace_file


def write_file(path: Path, data: bytes) -> None:
    """Write a file, and make the folder it is in; Refused where that can't be done. Nothing of it is left then."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
    except OSError as error:
        raise Refused(f"Can't write {path}: {reason(error)}. Choose another place with --out.") from error
