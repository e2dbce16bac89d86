"""flyweight.processes.worker_count: as many workers as the limit of open files forces and the cores deserve."""

import pytest

from floodtest.flyweight.errors import ExitCode, Refused
from floodtest.flyweight.machine.files import FILES_RESERVE
from floodtest.flyweight.processes import worker_count
from floodtest.flyweight.processes.worker_count import MAX_WORKERS, workers_for

MILLION = 1_054_000


@pytest.mark.parametrize(
    ("connections", "files_limit", "workers"),
    [
        (MAX_WORKERS * 128, 256, MAX_WORKERS),
        (MILLION, 20_000, 54),
        (MILLION, 1_100_000, 2),
        (3_000_000, 1_100_000, 3),
        (19_872, 20_000, 2),
        (19_873 * 2, 20_000, 3),
        (1, 256, 1),
        (128, 256, 1),
        (129, 256, 2),
        (1000, 20_000, 1),
        (1001, 20_000, 2),
    ],
)
def test_as_many_workers_as_the_limit_forces_and_the_cores_deserve(
    connections: int, files_limit: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_count, "cores", lambda: 2)
    assert workers_for(connections, files_limit) == workers


@pytest.mark.parametrize("files_limit", [8000, 20_000, 1_100_000])
@pytest.mark.parametrize("connections", [1, 127, 128, 5000, MILLION, 3_000_000])
def test_no_worker_has_more_connections_than_files(connections: int, files_limit: int) -> None:
    workers = workers_for(connections, files_limit)
    assert -(-connections // workers) + FILES_RESERVE <= files_limit


def test_many_cores_do_not_split_a_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_count, "cores", lambda: 64)
    assert [workers_for(connections, 1_100_000) for connections in (1, 1000, 10_000, MILLION)] == [1, 1, 10, 64]


def test_more_workers_may_be_asked_for_and_fewer_as_far_as_the_files_go() -> None:
    assert workers_for(100, 20_000, wanted=8) == 8
    assert workers_for(5000, 20_000, wanted=1) == 1
    assert workers_for(MILLION, 20_000, wanted=1) == 54


def test_more_workers_than_a_machine_holds_are_refused_with_a_remedy() -> None:
    assert workers_for(MAX_WORKERS * 128, 256) == MAX_WORKERS
    with pytest.raises(Refused, match=r"take 401 workers.*ulimit"):
        workers_for(MAX_WORKERS * 128 + 1, 256)
    with pytest.raises(Refused):
        workers_for(10, 256, wanted=MAX_WORKERS + 1)


@pytest.mark.parametrize("files_limit", [0, 20, 128, 255])
def test_a_limit_without_room_is_refused_with_a_remedy(files_limit: int) -> None:
    with pytest.raises(Refused, match="ulimit") as caught:
        workers_for(10, files_limit)
    assert str(files_limit) in str(caught.value)
    assert caught.value.exit_code == ExitCode.REFUSED
