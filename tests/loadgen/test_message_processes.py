"""loadgen.run.message_processes: what becomes of a run when one of the processes behind its messages is killed.

What becomes of it without a generator is in test_message_failures.py, and without a publisher in test_publisher.py.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from floodtest.flyweight.errors import WorkerFault
from floodtest.flyweight.processes.launch import Done, Program, launch
from floodtest.loadgen.run import message_processes
from floodtest.loadgen.run.message_processes import Friends, load_friends, look_into_store, removed_in_the_end


@pytest.mark.parametrize(
    ("look", "name"),
    [
        (lambda store: load_friends(Friends(store.with_name("friends")), store, 0, 100), "load"),
        (lambda store: look_into_store(store, 100), "subs"),
    ],
    ids=["load", "subs"],
)
def test_who_looks_for_friends_and_is_killed_ends_the_run_with_a_reason(
    look: Callable[[Path], Awaitable[list[str]]], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_killed(*_: object, **__: object) -> Done:
        return Done(-9, b'{"reach": {"us', b"")

    monkeypatch.setattr(message_processes, "run_to_end", is_killed)
    with pytest.raises(WorkerFault, match=rf"comet {name} ended by signal 9\. Try again\."):
        trio.run(look, tmp_path / "store")


def test_a_store_is_removed_though_its_remover_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, launched = tmp_path / "store", list[Program]()

    def note(*words: Any, **options: Any) -> Program:
        launched.append(launch(*words, **options))
        return launched[0]

    async def use() -> None:
        async with removed_in_the_end(store):
            store.mkdir()
            (store / "data.mdb").touch()
            (remover,) = launched
            remover.kill()

    monkeypatch.setattr(message_processes, "launch", note)
    trio.run(use)
    assert launched[0].exit_status == -9
    assert not store.exists()
