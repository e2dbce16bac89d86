"""The process of a publisher: an `Order` as JSON on standard input; on standard output what came of it by then, a line
of JSON twice a second and at the end, so that its last whole line counts when it is killed.
"""

import sys

import msgspec
import trio

from floodtest.loadgen.plan.publication import Order
from floodtest.loadgen.publisher.publisher import publish
from floodtest.wire.control import Generated


def main() -> None:
    """Publish, as standard input says."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)

    def say(outcome: Generated) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()

    say(trio.run(publish, order, say))


if __name__ == "__main__":
    main()
