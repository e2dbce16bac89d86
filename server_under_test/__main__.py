"""`comet`, and `python -m floodtest.server_under_test`."""

from floodtest.flyweight.command.inherited import put_right


def main() -> None:
    """Run `comet`; a Ctrl-C ends it in silence, even while it is imported."""
    put_right("comet")
    from floodtest.server_under_test.commands.comet import main as run

    run()


if __name__ == "__main__":
    main()
