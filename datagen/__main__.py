"""`fakefriends`, and `python -m datagen`."""

from flyweight.interrupt import die_of_it


def main() -> None:
    """Run `fakefriends`; a Ctrl-C ends it in silence, even while it is imported."""
    die_of_it()
    from datagen.cli import main as run

    run()


if __name__ == "__main__":
    main()
