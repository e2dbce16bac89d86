"""HTML: pages made of the templates beside this module, each one file that is readable without scripts.

In: the name of a template, and values. Out: bytes. Every value is text and is escaped where it is put in, whatever a
record says; control characters, which no document may have, become a replacement. jinja2 is imported when the first
page is made, so that nobody else pays for it.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Table:
    """A table; of the kind `cards` its rows are blocks on a telephone, of the kind `words` its cells are text."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    kind: str = "cards"

    @property
    def is_titled(self) -> bool:
        return any(self.head)

    def named_rows(self) -> Iterator[list[tuple[str, str]]]:
        """Yield each row, its cells with the names of their columns."""
        for row in self.rows:
            yield list(zip(self.head, row, strict=True))


@dataclass(frozen=True)
class Picture:
    """An SVG that is in the page itself, and a narrower one for a telephone; `text` is for who can't see it."""

    wide: bytes
    narrow: bytes
    text: str

    @property
    def wide_address(self) -> str:
        return _address(self.wide)

    @property
    def narrow_address(self) -> str:
        return _address(self.narrow)


def _address(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def fill_in(template: str, **values: Any) -> bytes:
    """Make a page of a template."""
    return _environment().get_template(template).render(values).encode()


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def printable(value: object) -> object:
        """Leave alone what is HTML already: a part of a page that was escaped when it was made."""
        if isinstance(value, Markup):
            return value
        text = str(value)
        if text.isprintable():  # as a picture is: some 600,000 letters in a report
            return text
        return "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in text)

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["stylesheet"] = lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8"))
    return made
