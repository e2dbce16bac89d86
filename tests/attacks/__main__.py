"""`python -m tests.attacks`: the attack suite from the command line. Exit code 1 when something was wrong."""

import argparse
import json
import sys
import time
from pathlib import Path

from tests.attacks.order import Order
from tests.attacks.suite import ATTACKS, attack_here, run_suite, table


def main() -> int:
    """Run the attacks that were asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("--only", choices=ATTACKS, action="append", help="one attack; may be given several times")
    parser.add_argument("--seed", type=int, default=1, help="for the random numbers (default: 1)")
    parser.add_argument("--share", type=float, default=1.0, help="part of the whole to do (default: 1)")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.only or ATTACKS
    if options.here is not None:
        order = Order(names[0], options.seed, options.share, options.here)
        print(json.dumps(vars(attack_here(order))))  # asdict of Python 3.11 spoils a Counter
        return 0
    began = time.monotonic()
    results = run_suite(names, options.seed, options.share)
    print(table(results, options.seed, options.share))
    print(f"\nseed {options.seed}, share {options.share:g}, {time.monotonic() - began:.0f} s in all")
    return int(any(result.tally.faults for result in results))


if __name__ == "__main__":
    sys.exit(main())
