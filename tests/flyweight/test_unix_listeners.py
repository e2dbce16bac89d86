"""flyweight.machine.unix_listeners: who listens at a path, by the kernel's word and by /proc/net/unix."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from floodtest.flyweight.machine import unix_listeners
from floodtest.flyweight.machine.listeners import Listener, listeners_at
from floodtest.flyweight.machine.unix_listeners import find_listeners, listening_at


@contextmanager
def listener_at(path: Path, backlog: int = 7) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen(backlog)
        yield made


def inode_of(sock: socket.socket) -> int:
    return int(os.readlink(f"/proc/self/fd/{sock.fileno()}").removeprefix("socket:[").removesuffix("]"))


def test_a_listener_has_its_queue_and_is_found_by_any_name_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listener_at(path) as sock, ExitStack() as waiting:
        for _ in range(3):
            waiting.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        (tmp_path / "link").symlink_to(path)
        for name in (str(path), str(tmp_path / "link")):
            (one,) = listening_at(name)
            if one.backlog is None:
                pytest.skip("sock_diag is forbidden here, so that no queue can be read")
            assert one == Listener(name, 0, os.geteuid(), inode_of(sock), 3, 7)
            assert find_listeners([(name, 0)]) == listeners_at([one], name, 0) == [one]


def test_where_the_kernel_does_not_tell_its_list_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(asked: bytes) -> list[bytes]:
        raise PermissionError

    monkeypatch.setattr(unix_listeners, "diagnosed", refuse)
    path = tmp_path / "a name with a space"
    with listener_at(path) as sock, socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))  # which is in the list as well, under the listener's name
        assert listening_at(str(path)) == [Listener(str(path), 0, os.geteuid(), inode_of(sock), 0)]
        assert listening_at(str(path), tmp_path) == []


def test_nobody_listens_where_there_is_no_socket_or_its_server_has_gone(tmp_path: Path) -> None:
    assert listening_at(str(tmp_path / "nothing")) == []
    with listener_at(tmp_path / "s"):
        pass
    assert (tmp_path / "s").is_socket()
    assert listening_at(str(tmp_path / "s")) == []
