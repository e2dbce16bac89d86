"""`python -m benchmarks.pictures`: the pictures of docs/analysis.md, of a report and of a comparison, anew.

Each is the top of a page, as Chromium shows it, of runs that are made for it: some minutes for both.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.rigs.browser import CHROMIUM

DOCS = Path(__file__).parents[1] / "docs"

WIDTH = 1000
REPORT = ("run", "--connections", "12000", "--rate", "2000", "--hold", "6")
COMPARISON = (
    *("ab", "--a", "--server-model columns", "--b", "--server-model tasks"),
    *("--connections", "10000", "--rate", "2000", "--hold", "6", "--tick", "1"),
)
PICTURES = {"report": (REPORT, 1700), "compare": (COMPARISON, 2140)}
"""By the name of the page: what writes it, and the height of its picture in pixels."""


def draw(page: str, words: tuple[str, ...], height: int, folder: Path) -> None:
    """Run floodtest in a folder, and draw the page that it leaves there."""
    subprocess.run([sys.executable, "-m", "floodtest", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (file,) = folder.glob(f"runs/*/{page}.html")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WIDTH},{height}")
    subprocess.run([str(CHROMIUM), *options, f"--screenshot={DOCS / page}.png", file.as_uri()], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=PICTURES, help="one of them")
    only = parser.parse_args().only
    if CHROMIUM is None:
        sys.exit("pictures: there is no chromium here: apt-get install chromium")
    for page, (words, height) in PICTURES.items():
        if only in (None, page):
            with tempfile.TemporaryDirectory() as folder:
                draw(page, words, height, Path(folder))


if __name__ == "__main__":
    main()
