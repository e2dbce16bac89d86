"""floodtest as a library: a run from a program, and what runs have recorded.

    from floodtest import Plan, RunOptions, load, run

    plan = Plan(ips=2, each=500, base_ip="127.0.1.1", first_port=20_000, connections=1_000)
    summary = run(RunOptions(plan, hold=5))
    record = load(summary.run)

The rooms of the house are folders of the repository and parts of this package: analysis, datagen, flyweight, loadgen,
server_under_test, wire. An import of this package imports none of them; a name brings along what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from floodtest.analysis import load
    from floodtest.analysis.figures.compare import compare
    from floodtest.loadgen.plan.options import RunOptions
    from floodtest.loadgen.plan.plan import Plan
    from floodtest.loadgen.run.library import run

__all__ = ["Plan", "RunOptions", "compare", "load", "run"]

_HOMES = {
    "Plan": "loadgen.plan.plan",
    "RunOptions": "loadgen.plan.options",
    "compare": "analysis.figures.compare",
    "load": "analysis",
    "run": "loadgen.run.library",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
