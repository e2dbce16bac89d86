"""wire.tls and its secrets: where they are while a connection lasts, and that they are nowhere afterwards."""

import fcntl
import gc
import os
import re
import struct
import termios
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from floodtest.wire.tls.contexts import client_context, server_context
from floodtest.wire.tls.handshaking import Failed, Handshake, KeyLog
from floodtest.wire.tls.key_columns import KeyColumns
from floodtest.wire.tls.settings import ClientTls, ServerTls
from floodtest.wire.tls.suites import SUITES
from tests.rigs.tls import NAME, End, Peer, client_end, server_end, shake, write_certificate

Files = tuple[str, str]
FDS = [3, 4, 9]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    cert, key = write_certificate(tmp_path_factory.mktemp("certificates"))
    return str(cert), str(key)


def met(files: Files, fds: list[int]) -> list[End]:
    ends = [client_end(ClientTls(NAME, cafile=files[0])), server_end(ServerTls(*files, tickets=1))]
    shake(ends[0], ends[1], fds)
    return ends


def columns_of(end: End) -> list[np.ndarray[Any, Any]]:
    columns = end.layer._columns
    sides = columns._read, columns._write
    return [column for side in sides for column in (side.keys, side.ivs, side.secrets, side.numbers)]


def test_keys_are_overwritten_when_a_connection_ends(files: Files) -> None:
    for end in met(files, FDS):
        for fd in FDS:
            end.layer.seal([fd], [b"text"])
        end.layer.forget([4])
        end.layer.forget([9, 9, 50])
        for column in columns_of(end):
            assert not column[[4, 9]].any()
            assert column[3].any() or column.ndim == 1
        end.layer.forget([3])
        assert not any(column.any() for column in columns_of(end))
        assert not end.layer._columns._suites.any()


def test_columns_of_secrets_are_left_out_of_core_dumps(files: Files) -> None:
    for end in met(files, FDS):
        for side in (end.layer._columns._read, end.layer._columns._write):
            for column in (side.keys, side.ivs, side.secrets):
                assert "dd" in flags_at(column.ctypes.data)


def flags_at(address: int) -> list[str]:
    """Return the kernel's flags of the mapping with an address."""
    is_in = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            is_in = int(found[1], 16) <= address < int(found[2], 16)
        elif is_in and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError(f"No mapping has {address:#x}.")


def bytes_in(log: KeyLog) -> int:
    """Return how many bytes nobody has taken yet."""
    (size,) = struct.unpack("i", fcntl.ioctl(log._reader, termios.FIONREAD, bytes(4)))
    return int(size)


def files_here() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_key_log_is_empty_after_each_step_and_gone_in_the_end(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = list[int]()
    go_on = Handshake._go_on

    def noted(own: Handshake, piece: bytes) -> bool:
        is_over = go_on(own, piece)
        sizes.append(bytes_in(own._key_log))
        return is_over

    monkeypatch.setattr(Handshake, "_go_on", noted)
    gc.collect()  # layers of other tests, which nobody has closed
    before = files_here()
    ends = met(files, FDS)
    keys = [bytes(end.layer._columns._read.keys[fd].tobytes()) for end in ends for fd in FDS]
    assert len(set(keys)) == len(keys)
    assert sizes == [0] * 4 * len(FDS)
    assert files_here() == before + 4
    for end in ends:
        assert end.layer._context.keylog_filename.startswith("/proc/thread-self/fd/")
        end.layer.close()
    assert files_here() == before


def test_a_context_that_connections_keep_does_not_keep_the_key_log_open(files: Files) -> None:
    """Of a certificate that is read again as long as there are handshakes under the one before."""
    old, newest = ClientTls(NAME, cafile=files[0], version="1.2"), ClientTls(NAME, cafile=files[0])
    server = server_end(ServerTls(*files))
    gc.collect()  # layers of other tests, which nobody has closed
    files_before = files_here()
    for fd in range(1, 8):
        peer = Peer(client_context(old), is_server=False, name=NAME)
        server.layer.begin([fd])
        shake_with(peer, server, fd)
        server.layer.renew(server_context(ServerTls(*files)))
        assert files_here() == files_before
    late = Peer(client_context(newest), is_server=False, name=NAME)
    server.layer.begin([8])
    server.take(8, late.step(b""))
    for _ in range(3):
        server.layer.renew(server_context(ServerTls(*files)))
        assert files_here() == files_before + 1
    assert server.take(8, late.step(server.sent(8)) + late.say(b"text")) == (b"text", None)
    server.layer.renew(server_context(ServerTls(*files)))
    assert files_here() == files_before
    assert (server.layer.take_counts().kept, len(server.layer._kept)) == (7, 7)
    server.layer.close()
    assert files_here() == files_before - 2


def shake_with(peer: Peer, server: End, fd: int) -> None:
    """Do the handshake of a client that is an object of OpenSSL."""
    while not peer.is_done:
        server.take(fd, peer.step(server.sent(fd)))


def test_a_failed_handshake_leaves_no_secret_in_the_key_log(files: Files) -> None:
    other, server = client_end(ClientTls("other.test", cafile=files[0])), server_end(ServerTls(*files))
    shake(other, server, FDS)
    assert len(other.layer.handshakes) == len(FDS)
    assert [bytes_in(end.layer._key_log) for end in (other, server)] == [0, 0]


def test_no_secret_is_in_what_is_printed(files: Files) -> None:
    """Of objects of the layer, and of errors with them in their frames."""
    context = client_context(ClientTls(NAME, cafile=files[0]))
    log = KeyLog(context)
    handshake = Handshake(context, log, False, NAME)
    server = Peer(server_context(ServerTls(*files)), is_server=True)
    hello, _ = handshake.step()
    _, is_over = handshake.step(server.step(hello))
    assert is_over
    done = handshake.done()
    columns = KeyColumns(16)
    columns.install(5, done.cipher, done.read_secret, done.write_secret)
    key, _ = SUITES[done.cipher].keys(done.read_secret)
    printed = [*map(repr, (done, handshake, log, columns, columns._read, columns.open([], [])))]
    try:
        columns.seal([6], [b"text"])
    except LookupError as error:
        printed += traceback.format_exception(error)
    broken = Handshake(context, log, False, NAME)
    broken.step()
    try:
        broken.step(b"no TLS")
    except Failed as failed:
        printed += traceback.format_exception(failed)
    log.close()
    text = "".join(printed)
    assert len(text) > 500
    for secret in (done.read_secret, done.write_secret, key):
        for form in (secret.hex(), repr(secret)[2:-1], repr(list(secret))[1:-1], str(secret[:8])[2:-1]):
            assert form not in text
