"""`python -m floodtest`."""

from floodtest.loadgen.__main__ import main

if __name__ == "__main__":
    main()
