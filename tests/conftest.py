"""Settings and fixtures of all tests: hypothesis tries the same examples each time, and none is judged by the clock."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.client_rig import ClientRig
from tests.server_rig import ServerRig

settings.register_profile("floodtest", derandomize=True, deadline=None)
settings.load_profile("floodtest")


@pytest.fixture
def rigs(tmp_path: Path) -> Iterator[Callable[[], ClientRig]]:
    """Make as many rigs of a client as a test asks for."""
    made: list[ClientRig] = []

    def make() -> ClientRig:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(ClientRig(folder))
        return made[-1]

    yield make
    for rig in made:
        rig.end()


@pytest.fixture
def rig(rigs: Callable[[], ClientRig]) -> ClientRig:
    """Make a rig of a client."""
    return rigs()


@pytest.fixture
def front() -> Iterator[ServerRig]:
    """Make the streams of a front."""
    made = ServerRig()
    yield made
    made.end()
