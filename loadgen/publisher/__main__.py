"""The process of a publisher: an `Order` as JSON on standard input, on standard output what came of it."""

import sys

import msgspec
import trio

from floodtest.loadgen.plan.publication import Order
from floodtest.loadgen.publisher.publisher import publish


def main() -> None:
    """Publish, as standard input says."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(trio.run(publish, order)))


if __name__ == "__main__":
    main()
