"""`comet`, and `python -m server_under_test`."""

from flyweight.inherited import put_right


def main() -> None:
    """Run `comet`; a Ctrl-C ends it in silence, even while it is imported."""
    put_right("comet")
    from server_under_test.cli import main as run

    run()


if __name__ == "__main__":
    main()
