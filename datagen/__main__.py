"""`fakefriends`, and `python -m floodtest.datagen`."""

from floodtest.flyweight.command.inherited import put_right


def main() -> None:
    """Run `fakefriends`; a Ctrl-C ends it in silence, even while it is imported."""
    put_right("fakefriends")
    from floodtest.datagen.cli import main as run

    run()


if __name__ == "__main__":
    main()
