"""Settings and fixtures of all tests: hypothesis tries the same examples each time, and none is judged by the clock."""

import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from floodtest.loadgen.plan.models import CLIENT_MODELS
from floodtest.server_under_test.models import MODELS
from tests.rigs.client import ClientRig
from tests.rigs.forking import forking
from tests.rigs.httpx_client import HttpxRig
from tests.rigs.server import ServerRig
from tests.rigs.tasks import TaskRig

signal.signal(signal.SIGINT, signal.default_int_handler)
"""A shell that runs the tests in the background has them, and all they start, ignore it."""

settings.register_profile("floodtest", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("floodtest")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the exit status beside the names of failed tests, which `.ci/run` tries again if that is all."""
    if getattr(session.config, "cache", None) is not None and not hasattr(session.config, "workerinput"):
        session.config.cache.set("floodtest/exit_status", int(exitstatus))


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    """Name a model of the server; whoever asks for it is tested with each."""
    name: str = request.param
    return name


@pytest.fixture(params=CLIENT_MODELS)
def client(request: pytest.FixtureRequest) -> str:
    """Name a model of the client; whoever asks for it is tested with each."""
    name: str = request.param
    return name


@pytest.fixture
def rigs(tmp_path: Path) -> Iterator[Callable[[], ClientRig]]:
    """Make as many rigs of a client as a test asks for, each of which ends when the next one is made."""
    made: list[ClientRig] = []
    numbers = count()

    def make() -> ClientRig:
        if made:
            made.pop().end()
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        made.append(ClientRig(folder))
        return made[-1]

    yield make
    if made:
        made.pop().end()


@pytest.fixture
def rig(rigs: Callable[[], ClientRig]) -> ClientRig:
    """Make a rig of a client."""
    return rigs()


@pytest.fixture
def httpx_rig(tmp_path: Path) -> Iterator[HttpxRig]:
    """Make a rig of the httpx client with ten users."""
    made = HttpxRig(tmp_path, 10)
    yield made
    made.end()


@pytest.fixture
def forks() -> Iterator[None]:
    """Have the programs that a run of this process launches forked."""
    with forking():
        yield


@pytest.fixture
def front() -> Iterator[ServerRig]:
    """Make the streams of a front."""
    made = ServerRig()
    yield made
    made.end()


@pytest.fixture
def tasks() -> Iterator[TaskRig]:
    """Make a front of tasks."""
    made = TaskRig()
    yield made
    made.end()


@pytest.fixture(params=[ServerRig, TaskRig])
def holder(request: pytest.FixtureRequest) -> Iterator[ServerRig | TaskRig]:
    """Make a front of either model."""
    made: ServerRig | TaskRig = request.param()
    yield made
    made.end()
