"""What `floodtest plan` does: it shows what a run would open and take, and opens nothing."""

import sys

from floodtest.flyweight.command.run import print_json
from floodtest.loadgen.network.choice import foresee
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.outlook import cut_to_fit, look
from floodtest.loadgen.preflight.preview import preview, render_preview


def show_plan(options: RunOptions, fit: bool, as_json: bool) -> bool:
    """Print the plan; return whether the run would start."""
    network = foresee(options)
    if options.cluster.is_asked:
        from floodtest.loadgen.commands.host_planning import show_plans  # not above: one machine has no use for it

        return show_plans(options, fit, as_json)
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
