"""wire.tls.key_columns: batches against one by one, both against what was sent, and against OpenSSL's own objects."""

import re
import ssl
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from floodtest.wire.causes import Cause
from floodtest.wire.tls import key_columns, tls_records
from floodtest.wire.tls.handshaking import KeyLog
from floodtest.wire.tls.key_columns import MOST_IDLE, KeyColumns, Opened
from floodtest.wire.tls.suites import SUITES
from tests.rigs.tls import NAME, Peer, write_certificate
from tests.rigs.tls_records import ALERT, DATA, HANDSHAKE, MOST, SPOILS, TICKET, Sender, message

FD = 5
NAMES = list(SUITES)
ONE_BY_ONE = 1 << 30

Row = tuple[str, list[tuple[object, ...]], list[float] | None]
"""A connection: its suite, what is sent, and where that is cut into reads, None: into its records."""


@pytest.fixture(autouse=True)
def few_as_it_was() -> Iterator[None]:
    before = key_columns.FEW
    yield
    key_columns.FEW = before


def secret_of(suite: str, seed: str) -> bytes:
    return Random(seed).randbytes(SUITES[suite].secret_size)


def installed(suites: list[str], update_after: int = 1 << 24, takes_tickets: bool = True) -> KeyColumns:
    """Return columns that read what `sender_of` seals."""
    columns = KeyColumns(64, takes_tickets, update_after)
    for fd, suite in enumerate(suites):
        columns.install(fd, suite, secret_of(suite, f"{fd}"), secret_of(suite, f"own {fd}"), fd)
    return columns


def receiver_of(columns_of: list[str]) -> KeyColumns:
    """Return columns that read what those of `installed` seal."""
    columns = KeyColumns(64)
    for fd, suite in enumerate(columns_of):
        columns.install(fd, suite, secret_of(suite, f"own {fd}"), bytes(SUITES[suite].secret_size))
        columns._read.numbers[fd] = fd
    return columns


def sender_of(fd: int, suite: str) -> Sender:
    return Sender(suite, secret_of(suite, f"{fd}"))


sizes = st.sampled_from([1, 1, 2, 5, 40, 400, 3000, MOST])
texts = st.builds(lambda size, byte: bytes([byte]) * size, sizes, st.sampled_from([0, 22, 23, 65, 255]))
steps = st.one_of(
    st.tuples(st.just("data"), texts),
    st.tuples(st.just("data"), texts),
    st.tuples(st.just("data"), st.just(b"")),
    st.tuples(st.just("data"), st.just(b"padded"), st.integers(1, 300)),
    st.tuples(st.just("data"), st.just(b""), st.integers(1, 20)),
    st.tuples(st.just("ticket"), st.integers(1, 4), st.integers(1, 3)),
    st.tuples(st.just("key_update"), st.booleans()),
)
ends = st.one_of(
    st.tuples(st.just("spoil"), st.sampled_from(sorted(SPOILS))),
    st.tuples(st.just("alert"), st.sampled_from([0, 10, 40, 80, 90, 116, 255])),
)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    script = draw(st.lists(steps, max_size=5))
    if draw(st.booleans()):
        script = [*script, draw(ends), *draw(st.lists(steps, max_size=1))]
    return draw(st.sampled_from(NAMES)), script, draw(st.none() | st.lists(st.floats(0, 1), max_size=4))


def reads_of(sent: bytes, cuts: list[float] | None) -> list[bytes]:
    """Cut what was sent at these places, or into its records."""
    if cuts is None:
        whole, rest, _ = tls_records.split(sent)
        rest = sent[sum(map(len, whole)) :]
        return [*whole, rest] if rest else whole
    places = sorted({0, len(sent), *(round(cut * len(sent)) for cut in cuts)})
    return [sent[start:stop] for start, stop in pairwise(places)]


def played(suite: str, script: list[tuple[object, ...]], fd: int) -> Sender:
    sender = sender_of(fd, suite)
    for name, *arguments in script:
        getattr(sender, str(name))(*arguments)
    return sender


def state_of(columns: KeyColumns, fd: int) -> tuple[object, ...]:
    return (
        *(bytes(column[fd].tobytes()) for side in (columns._read, columns._write) for column in (side.keys, side.ivs)),
        *(bytes(side.secrets[fd].tobytes()) for side in (columns._read, columns._write)),
        *(int(side.numbers[fd]) for side in (columns._read, columns._write)),
        int(columns._idle[fd]),
        columns._rest.get(fd),
        columns._begun.get(fd),
    )


def opened(columns: KeyColumns, batch: dict[int, bytes], few: int) -> Opened:
    key_columns.FEW = few
    return columns.open(list(batch), list(batch.values()))


@settings(max_examples=120)
@given(st.lists(rows(), min_size=1, max_size=10))
def test_batches_open_what_one_by_one_does(
    made: list[Row],
) -> None:
    suites = [suite for suite, *_ in made]
    senders = [played(suite, script, fd) for fd, (suite, script, _) in enumerate(made)]
    reads = [reads_of(sender.sent, cuts) for sender, (*_, cuts) in zip(senders, made, strict=True)]
    batches, ones = installed(suites), installed(suites)
    heard, over = dict.fromkeys(range(len(made)), b""), dict[int, int]()
    tickets = updates = 0
    for turn in range(max(map(len, reads))):
        batch = {fd: each[turn] for fd, each in enumerate(reads) if turn < len(each) and fd not in over}
        if not batch:
            break
        one, other = opened(batches, batch, 1), opened(ones, batch, ONE_BY_ONE)
        assert dict(zip(one.fds, one.data, strict=True)) == dict(zip(other.fds, other.data, strict=True))
        assert (one.over, one.replies, one.asked) == (other.over, other.replies, other.asked)
        assert (one.tickets, one.key_updates) == (other.tickets, other.key_updates)
        assert all(one.data)
        assert len(set(one.fds)) == len(one.fds)
        for fd in batch:
            assert state_of(batches, fd) == state_of(ones, fd)
        for fd, text in zip(one.fds, one.data, strict=True):
            heard[fd] += text
        over |= one.over
        tickets += one.tickets
        updates += one.key_updates
    for fd, sender in enumerate(senders):
        assert (heard[fd], over.get(fd)) == (sender.text, sender.over)
    assert (tickets, updates) == (sum(each.tickets for each in senders), sum(each.updates for each in senders))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.lists(st.integers(0, 40_000) | st.integers(0, 3), max_size=4)),
        min_size=1,
        max_size=10,
    ),
    st.sampled_from([2, 3, 1 << 24]),
)
def test_batches_seal_what_one_by_one_does(made: list[tuple[str, list[int]]], update_after: int) -> None:
    suites = [suite for suite, _ in made]
    batches, ones = installed(suites, update_after), installed(suites, update_after)
    receiver = receiver_of(suites)
    for turn in range(4):
        said = {fd: bytes([65 + fd]) * own[turn] for fd, (_, own) in enumerate(made) if turn < len(own)}
        if not said:
            break
        key_columns.FEW = 1
        sealed = batches.seal(list(said), list(said.values()))
        key_columns.FEW = ONE_BY_ONE
        assert sealed == ones.seal(list(said), list(said.values()))
        found = receiver.open(list(said), sealed)
        assert dict(zip(found.fds, found.data, strict=True)) == {fd: text for fd, text in said.items() if text}
        assert not found.over
    for fd in range(len(made)):
        assert state_of(batches, fd) == state_of(ones, fd)


@pytest.mark.parametrize("how", sorted(SPOILS))
@pytest.mark.parametrize("suite", NAMES)
def test_what_may_not_come_ends_a_connection_by_its_cause(suite: str, how: str) -> None:
    sender = sender_of(0, suite)
    sender.data(b"before")
    sender.spoil(how)
    sender.data(b"behind")
    columns = installed([suite])
    found = columns.open([0], [sender.sent])
    assert (found.fds, found.data, found.over) == ([0], [b"before"], {0: SPOILS[how][1]})
    answer = receiver_of([suite]).open([0], [found.replies[0]])
    assert answer.over == {0: Cause.TLS_ALERT}


@pytest.mark.parametrize("few", [1, ONE_BY_ONE])
def test_records_may_be_cut_at_every_byte(few: int) -> None:
    sender = sender_of(0, NAMES[0])
    for step in (("data", b"one"), ("ticket", 2), ("data", b""), ("key_update", True), ("data", b"two", 3)):
        getattr(sender, step[0])(*step[1:])
    sender.close_notify()
    for cut in range(1, len(sender.sent)):
        columns = installed(NAMES[:1])
        first = opened(columns, {0: sender.sent[:cut]}, few)
        assert bool(columns._rest) or cut in ends_of(sender.sent)
        second = opened(columns, {0: sender.sent[cut:]}, few)
        assert b"".join(first.data + second.data) == b"onetwo"
        assert first.over | second.over == {0: 0}
        assert (first.tickets + second.tickets, first.key_updates + second.key_updates) == (1, 1)


def ends_of(sent: bytes) -> set[int]:
    whole, *_ = tls_records.split(sent)
    return set(np.cumsum([len(record) for record in whole]).tolist())


def test_one_who_sends_else_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch with a wrong record in it, no other row is opened twice."""
    senders = [sender_of(fd, NAMES[0]) for fd in range(20)]
    for sender in senders:
        sender.data(b"text")
    senders[3].sent = senders[3].sent[:-1] + b"?"
    columns, singly = installed(NAMES[:1] * 20), list[int]()
    plain = KeyColumns._open_record

    def noted(own: KeyColumns, fd: int, record: bytes) -> tuple[int, bytes]:
        singly.append(fd)
        return plain(own, fd, record)

    monkeypatch.setattr(KeyColumns, "_open_record", noted)
    found = columns.open(list(range(20)), [sender.sent for sender in senders])
    assert (singly, found.over, len(found.fds)) == ([3], {3: Cause.TLS_BAD_MAC}, 19)


def test_several_requests_for_new_keys_in_one_read_have_one_answer() -> None:
    sender, columns = sender_of(0, NAMES[0]), installed(NAMES[:1])
    for number in range(MOST_IDLE):
        sender.key_update(asks=number % 2 == 0)
    found = columns.open([0], [sender.sent])
    assert (found.key_updates, found.over) == (MOST_IDLE, {})
    answer = receiver_of(NAMES[:1]).open([0], [found.replies[0]])
    assert (answer.key_updates, answer.asked, len(found.replies[0])) == (1, set(), 5 + 5 + 1 + 16)


def test_who_announces_the_end_is_owed_no_new_keys() -> None:
    sender, columns = sender_of(0, NAMES[0]), installed(NAMES[:1])
    sender.key_update(asks=True)
    sender.close_notify()
    found = columns.open([0], [sender.sent])
    assert (found.key_updates, found.over, found.replies) == (1, {0: 0}, {})


@pytest.mark.parametrize("few", [1, ONE_BY_ONE])
def test_nothing_may_come_between_two_parts_of_a_message(few: int) -> None:
    sender, columns = sender_of(0, NAMES[0]), installed(NAMES[:1])
    sender.record(HANDSHAKE, message(4, TICKET)[:20])
    assert opened(columns, {0: sender.sent}, few).over == {}
    sender.sent = b""
    sender.data(b"data")
    found = opened(columns, {0: sender.sent}, few)
    assert (found.data, found.over) == ([], {0: Cause.TLS_BAD_RECORD})


def test_a_server_takes_no_tickets() -> None:
    sender, columns = (
        Sender(NAMES[0], secret_of(NAMES[0], "0"), tickets_are_taken=False),
        installed(NAMES[:1], 9, False),
    )
    sender.ticket()
    assert sender.over == Cause.TLS_BAD_RECORD
    assert columns.open([0], [sender.sent]).over == {0: Cause.TLS_BAD_RECORD}


def test_a_message_behind_the_handshake_is_bounded() -> None:
    """It ends by its length, by the bytes that are kept of it, or by how many records bring no data."""
    for size, cause in (((1 << 16) + 1, Cause.TLS_RECORD_TOO_LARGE), (1 << 16, Cause.TLS_BAD_RECORD)):
        sender, columns = sender_of(0, NAMES[0]), installed(NAMES[:1])
        sender.record(HANDSHAKE, b"\4" + size.to_bytes(3, "big"))
        for _ in range(MOST_IDLE):
            sender.record(HANDSHAKE, b"x")
        found = columns.open([0], [sender.sent])
        assert found.over == {0: cause}
        assert len(columns._begun.get(0, b"")) <= MOST_IDLE + 4


@pytest.mark.parametrize("kind", [DATA, HANDSHAKE, ALERT])
def test_no_text_is_sealed_and_none_opened_without_keys(kind: int) -> None:
    columns = installed(NAMES)
    columns.forget([1])
    sender = sender_of(1, NAMES[1])
    sender.record(kind, b"text")
    for few in (1, ONE_BY_ONE):
        with pytest.raises(LookupError):
            opened(columns, {1: sender.sent}, few)
        with pytest.raises(LookupError):
            columns.seal([1], [b"text"])
        with pytest.raises(LookupError):
            columns.seal([0, 1, 2], [b"text"] * 3)
    with pytest.raises(LookupError):
        columns.alert(1, tls_records.CLOSE_NOTIFY)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    cert, key = write_certificate(tmp_path_factory.mktemp("certificates"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    server.num_tickets = 0
    return ssl.create_default_context(cafile=str(cert)), server


def met(contexts: tuple[ssl.SSLContext, ssl.SSLContext], log: KeyLog) -> tuple[Peer, Peer, dict[bytes, bytes]]:
    """Do a handshake of two objects of OpenSSL; return both, and the secrets of both directions."""
    client, server = Peer(contexts[0], is_server=False, name=NAME), Peer(contexts[1], is_server=True)
    server.step(client.step(server.step(client.step(b""))))
    found = dict(re.findall(rb"^(CLIENT|SERVER)_TRAFFIC_SECRET_0 \w+ (\w+)$", log.take(), re.MULTILINE))
    return client, server, {side: bytes.fromhex(secret.decode()) for side, secret in found.items()}


LENIENT = {
    "half a ticket, then an alert",
    "too much padding",
    "too long a message",  # it takes tickets of 128 KiB
    "an empty update",  # behind an update that was asked for and is not answered yet
}
"""What OpenSSL lets pass."""


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows(), st.booleans())
def test_texts_are_those_of_openssl_on_the_same_bytes(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    made: Row,
    reads_as_server: bool,
) -> None:
    log = KeyLog(contexts[0])
    client, server, secrets = met(contexts, log)
    log.close()
    reader, side = (server, b"CLIENT") if reads_as_server else (client, b"SERVER")
    cipher = reader.object.cipher()
    assert cipher is not None
    suite, secret = cipher[0], secrets[side]
    columns = KeyColumns(64, not reads_as_server)
    columns.install(FD, suite, secret, secret)
    sender = Sender(suite, secret, not reads_as_server)
    _, script, cuts = made
    for name, *arguments in script:
        getattr(sender, str(name))(*arguments)
    text, over, own, is_own_over = b"", False, b"", False
    for read in reads_of(sender.sent, cuts):
        if not is_own_over:
            found = columns.open([FD], [read])
            own, is_own_over = own + b"".join(found.data), FD in found.over
        if not over:
            more, over = heard(reader, read)
            text += more
        assert own == text or is_own_over != over
    is_let_pass = any(name == "spoil" and arguments[0] in LENIENT for name, *arguments in script)
    assert (own, is_own_over) == (text, over) or (is_let_pass and is_own_over and text.startswith(own))


def heard(reader: Peer, data: bytes) -> tuple[bytes, bool]:
    """Return the text of what came, and whether the connection is over."""
    reader.incoming.write(data)
    texts = []
    try:
        while text := reader.object.read(MOST):
            texts.append(text)
    except ssl.SSLWantReadError:
        return b"".join(texts), False
    except ssl.SSLError:
        pass
    return b"".join(texts), True
