"""What `floodtest plan` does: it shows what a run would open and take, and opens nothing."""

import sys

from floodtest.flyweight.command.run import print_json
from floodtest.loadgen.commands.preview import preview, render_preview
from floodtest.loadgen.network.choice import foresee
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.outlook import cut_to_fit, look


def show_plan(options: RunOptions, fit: bool, as_json: bool) -> bool:
    """Print the plan; return whether the run would start."""
    network = foresee(options)
    if fit:
        options = cut_to_fit(options, network, lambda text: print(text, file=sys.stderr))
    print(f"Network: {network.in_words}.", file=sys.stderr)
    outlook = look(options, network)
    for note in outlook.notes():
        print(note, file=sys.stderr)
    shown = preview(outlook)
    if as_json:
        print_json(shown)
    else:
        print(render_preview(shown))
    return not shown.obstacles
