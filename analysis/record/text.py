"""Reading the text of a record's files. Fails: OSError, and ValueError in words for a reader."""

import codecs
from pathlib import Path


def read_text(path: Path) -> str:
    """Read UTF-8 as other programs save it as well: with a byte order mark, and with line ends of any kind."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        is_utf16 = error.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        raise ValueError(f"{path.name} {'is UTF-16' if is_utf16 else 'is no UTF-8'}. Save it as UTF-8") from error
