"""The degree distribution as a picture. matplotlib is an extra, imported when a picture is drawn."""

from pathlib import Path
from typing import TYPE_CHECKING

from floodtest.datagen.degrees import Degrees, PowerLaw
from floodtest.datagen.files import renamed_when_whole
from floodtest.flyweight.command.drawing import drawing
from floodtest.flyweight.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")


def check_name(path: Path) -> None:
    """UsageError unless a picture can have this name."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"A plot is a .png or .svg file, not {path.name!r}.")


def plot_degrees(path: Path, degrees: Degrees, law: PowerLaw | None, replace: bool = False) -> None:
    """Draw which share of the users has at least so many friends, log-log, and the fitted law; PNG or SVG by name."""
    check_name(path)
    with drawing({}):
        figure = _draw(degrees, law)
        with renamed_when_whole(path, replace) as file:
            figure.savefig(file, format=path.suffix[1:].lower())


def _draw(degrees: Degrees, law: PowerLaw | None) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    shares = degrees.shares_from()
    drawn = degrees.degree > 0  # a logarithm has no place for 0
    axes.loglog(degrees.degree[drawn], shares[drawn], ".", markersize=4, color="#0072b2", label="users")
    if law is not None:
        at = (degrees.degree >= law.cutoff).nonzero()[0]
        start = float(shares[at[0]])
        scaled = ((degrees.degree[at] - 0.5) / (law.cutoff - 0.5)) ** (1 - law.exponent)
        label = f"power law, exponent {law.exponent:.2f} ± {law.error:.2f}, from {law.cutoff:,} friends on"
        axes.loglog(degrees.degree[at], start * scaled, color="#d55e00", linewidth=1.5, label=label)
    title = f"{degrees.vertex_count:,} users, {degrees.edge_count:,} friendships"
    axes.set(title=title, xlabel="friends", ylabel="share of users with at least so many")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, loc="lower left")
    return figure
