"""`python -m datagen` is `fakefriends`."""

from datagen.cli import main

main()
