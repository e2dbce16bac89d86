"""matplotlib with its own defaults: a picture looks alike whatever a user has set. matplotlib is an extra.

A user's settings reach it by MPLBACKEND (Jupyter sets it, to a module that need not be installed here), by a file
matplotlibrc (in the current folder, of MATPLOTLIBRC, or in ~/.config/matplotlib), and by what a program has changed in
`rcParams`. Here they are put aside while a picture is drawn, and put back after it. A figure is drawn by the canvas
that its format asks for, so that no backend is loaded. Fails: Refused where matplotlib can't be imported.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from floodtest.flyweight.errors import Refused

_BACKEND = "MPLBACKEND"

_OF_PROGRAMS = ("backend", "backend_fallback", "interactive")
"""Settings of windows, which a program has chosen and no picture in a file has to do with."""


@contextmanager
def drawing(style: Mapping[str, Any]) -> Iterator[None]:
    """Draw with matplotlib's defaults and a style, as long as the block lasts."""
    matplotlib = import_matplotlib()
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name not in _OF_PROGRAMS}
    with matplotlib.rc_context({**defaults, **style}):
        yield


def import_matplotlib() -> Any:
    """Return matplotlib, imported whatever MPLBACKEND says; a program that goes on with it has its backend."""
    if (imported := sys.modules.get("matplotlib")) is not None:
        return imported
    backend = os.environ.pop(_BACKEND, None)  # an unknown name would end the import
    try:
        import matplotlib.figure
    except ModuleNotFoundError as error:
        raise Refused("Pictures need matplotlib: pip install 'floodtest[plot]'.") from error
    except Exception as error:  # whatever it comes across in a user's settings, which it reads when it is imported
        raise Refused(
            f"matplotlib can't be imported: {error}. Look at its settings: a file matplotlibrc here, in MATPLOTLIBRC "
            "or in ~/.config/matplotlib."
        ) from error
    finally:
        if backend is not None:
            os.environ[_BACKEND] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
    return matplotlib
