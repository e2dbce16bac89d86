"""`floodtest`, and `python -m floodtest`."""

from floodtest.flyweight.command.inherited import put_right


def main() -> None:
    """Run `floodtest`; a Ctrl-C ends it in silence, even while it is imported."""
    put_right("floodtest")
    from floodtest.loadgen.commands.floodtest import main as run

    run()


if __name__ == "__main__":
    main()
