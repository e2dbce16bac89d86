"""`floodtest`, and `python -m loadgen`."""

from flyweight.interrupt import die_of_it


def main() -> None:
    """Run `floodtest`; a Ctrl-C ends it in silence, even while it is imported."""
    die_of_it()
    from loadgen.cli import main as run

    run()


if __name__ == "__main__":
    main()
