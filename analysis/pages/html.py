"""A page: HTML in one file, readable without scripts, on a telephone and on paper. Everything from a record is escaped.

Pieces are `Html`, text that is safe already; whatever is a plain `str` is escaped where it is put in, so that nothing
can be forgotten.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape

CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 60rem; background: #fff; color: #222;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; padding-top: .9rem; border-top: 1px solid #ddd; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.lead { font-size: 1.12rem; }
.quiet { color: #595959; font-size: .92rem; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", monospace; background: #f4f4f4; padding: .1em .3em; }
table { border-collapse: collapse; margin: .6rem 0 1rem; font-size: .95rem; }
caption { text-align: left; color: #595959; font-size: .92rem; padding-bottom: .35rem; }
th, td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #e4e4e4; text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums; }
th { font-weight: 600; } thead th { border-bottom: 2px solid #bbb; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; font-weight: 400; }
thead th:first-child { font-weight: 600; }
.words td, .words th { text-align: left; }
th, .words td:first-child { overflow-wrap: normal; }
.wide { overflow-x: auto; }
figure { margin: .6rem 0 1rem; }
figure img { width: 100%; height: auto; display: block; }
.doubts { padding-left: 1.2rem; max-width: 46rem; } .doubts li { margin: .35rem 0; }
.bad { color: #a13d00; font-weight: 600; }
@media (max-width: 600px) {
  body { padding: 1rem .9rem 3rem; font-size: 15px; }
  .cards { width: 100%; } .cards caption { display: block; }
  .cards thead { display: none; }
  .cards tr { display: block; padding: .5rem 0; border-bottom: 1px solid #ccc; }
  .cards td, .cards th { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .1rem 0;
    text-align: right; }
  .cards td:first-child { font-weight: 600; }
  .cards td:not(:first-child)::before { content: attr(data-label); flex: none; overflow-wrap: normal;
    color: #595959; text-align: left; }
}
@media print {
  @page { margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  h2 { break-after: avoid; } figure, table, .doubts li { break-inside: avoid; }
  h2, h2 + p { break-after: avoid; } table.words { break-inside: auto; } tr { break-inside: avoid; }
  .wide { overflow: visible; }
}
"""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def safe(text: object) -> Html:
    """Escape what is not HTML already; control characters, which no document may have, become a replacement."""
    if isinstance(text, Html):
        return text
    clean = "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in str(text))
    return Html(escape(clean))


def join(pieces: Iterable[object]) -> Html:
    return Html("".join(safe(piece) for piece in pieces))


def tag(name: str, *content: object, **attributes: str) -> Html:
    """Write an element; `class_` is the attribute class, `_` in other names is `-`."""
    told = "".join(f' {key.rstrip("_").replace("_", "-")}="{safe(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{told}>{join(content)}</{name}>")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "", kind: str = "cards") -> Html:
    """Write a table; `kind` cards turns rows into blocks on a telephone, words is for text."""
    head = list(head)
    body = [
        tag("tr", *(tag("td", cell, data_label=str(name)) for name, cell in zip(head, row, strict=True)))
        for row in rows
    ]
    titles = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head))) if any(head) else Html("")
    above = tag("caption", caption) if caption else Html("")
    return tag("div", tag("table", above, titles, tag("tbody", *body), class_=kind), class_="wide")


def picture(wide: bytes, narrow: bytes, text: str) -> Html:
    """Put an SVG into the page itself, a narrower one for a telephone; `text` is for who can't see it."""
    sources = [f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}" for svg in (wide, narrow)]
    small = Html(f'<source media="screen and (max-width: 600px)" srcset="{sources[1]}">')
    image = Html(f'<img src="{sources[0]}" alt="{safe(text)}">')
    return tag("figure", tag("picture", small, image))


def page(title: str, *content: object) -> bytes:
    """Write a whole document."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<link rel="icon" href="data:,"><title>{safe(title)}</title><style>{CSS}</style>'
    )
    body = join(content)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'.encode()
