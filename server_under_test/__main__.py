"""`comet`, and `python -m server_under_test`."""

from flyweight.interrupt import die_of_it


def main() -> None:
    """Run `comet`; a Ctrl-C ends it in silence, even while it is imported."""
    die_of_it()
    from server_under_test.cli import main as run

    run()


if __name__ == "__main__":
    main()
