"""Streams: what comes in on descriptors, from the first byte of an answer to the end of the stream. No trio here.

A message's way goes in one direction: the intake reads a batch of descriptors, the protocol takes it apart by the
column (`wire.incoming`), and one posting brings it on the accounts. Reads are put aside until there is a thousand of
them, or nothing else to do. Answers of connections that are not open yet are looked at at once; an answer is
recognised by comparing it with what the last one of its kind taught (`wire.answers`), and whatever differs is parsed
in full. Between two messages a stream keeps nothing but its entry in four columns (user, last `#n`, when it was open,
when it last got something: 16 bytes); dicts hold the bytes of the few that stopped in the middle of something.
"""

import errno
import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from floodtest.flyweight.engine import closing
from floodtest.flyweight.engine.intake import END, Intake, Reads
from floodtest.flyweight.engine.outbox import Gone
from floodtest.flyweight.engine.readiness import Readiness
from floodtest.flyweight.engine.sweep import sweep
from floodtest.loadgen.client.accounts import Accounts, End, Phase
from floodtest.loadgen.client.arrival_sample import in_sample
from floodtest.loadgen.client.first_words import FirstWords
from floodtest.loadgen.client.flights import Flights
from floodtest.loadgen.client.lifetimes import Lifetimes
from floodtest.loadgen.client.outgoing import Outgoing
from floodtest.loadgen.client.poll_timing import Pollers
from floodtest.wire.answers import Answer, Answers, NotOpened, Opened
from floodtest.wire.causes import Cause
from floodtest.wire.grammar import OURS, Grammar
from floodtest.wire.protocols import Protocol
from floodtest.wire.sequence import Follower, Sequences, Windows
from floodtest.wire.template import Requests

if TYPE_CHECKING:
    from floodtest.loadgen.client.securing import Securing

DIGEST = 1024
"""Reads that are put aside before they are taken apart: it costs a fixed price, whether for ten or for a thousand."""

DIGEST_BYTES = 1 << 18
"""Bytes of the reads that are put aside, likewise."""

DIGEST_SECONDS = 0.25
"""The longest that a read is put aside; when it was made is noted at once."""

_ERRNOS = 200
"""Codes below it are an errno, or `END`."""


class Streams:
    """All descriptors of a worker, from the request on."""

    def __init__(
        self,
        accounts: Accounts,
        readiness: Readiness,
        files_limit: int,
        protocol: Protocol,
        answers: Answers,
        timeout: float,
        grammar: Grammar = OURS,
        ended: list[End] | None = None,
        sends: Requests | None = None,
        pollers: Pollers | None = None,
        watch_every: int = 0,
        securing: "Securing | None" = None,
    ) -> None:
        """`watch_every`: of about one connection in so many the kernel is asked when messages arrive; 0: of none.
        `securing`: what knows of TLS; None: it is not spoken.
        """
        self._accounts = accounts
        self._users = np.zeros(files_limit, np.uint32)  # by descriptor; 0 where there is no connection of ours
        self._user_of = self._users.data
        self._lifetimes = Lifetimes(accounts, files_limit)
        layer = None if securing is None else securing.layer
        self._intake = Intake(layer)
        self._outgoing = Outgoing(self._intake, readiness, layer)
        self.outbox = self._outgoing.outbox
        self._securing = securing
        if securing is not None:
            securing.layer.bind(self._outgoing.write_sealed, self._send_requests)
        self._protocol = protocol
        self._answers = answers
        self._at_once = answers.at_once
        """What opens a connection whose request is written; None: an answer has to come."""
        self._begun_answers: dict[int, Answer] = {}
        self._reads = Reads()  # from open connections, in order, and not taken apart yet
        self._incoming = protocol.incoming(files_limit, grammar, self._users)
        self._sequences: Follower = (Windows if grammar.may_overtake else Sequences)(files_limit)
        self.in_flight = Flights(accounts, timeout, None if pollers is None else pollers.may_be_held)
        self._sends = sends
        self._to_send: list[int] = []
        """Descriptors whose answers have begun in this turn, and that have something to send then."""
        self._ended = ended
        """Users whose connection has ended by itself, for who opens them again; None: nobody does."""
        self._pollers = pollers
        """What knows when connections poll; None: the protocol has no polls."""
        self._watch_every = watch_every
        self._first_words = FirstWords(accounts)

    def add(
        self,
        fds: list[int],
        users: list[int],
        deadline: float,
        connect_us: int,
        connecting: Sequence[int] = (),
        unwritable: Gone | None = None,
    ) -> None:
        """Take over descriptors whose request is on its way, or in the outbox. Some are `connecting`; the others took
        so long for that. To some it can't be written.
        """
        self._accounts.connect.count(connect_us, len(fds) - len(connecting))
        self._users[fds] = users
        self._sequences.begin(fds)
        began = self.in_flight.begin(fds, deadline)
        if self._pollers is not None:
            self._pollers.polls.begin(fds)
        self._outgoing.begin(connecting, unwritable or {})
        self._note_written(fds, began + connect_us / 1e6)

    def handle(self, events: list[tuple[int, int]]) -> None:
        """Write and read what the events announce. What was read is on the accounts after the next `digest`, which
        comes by itself when enough has been read.
        """
        if self.outbox:
            self._flush(events)
        sweeps, over = self._intake.read(events)
        if self._securing is not None:
            self._securing.post()
        for fds, data, began, ended in sweeps:
            if self.in_flight:
                answers, (fds, data) = self.in_flight.apart(fds, data)
                self._take_answers(*answers, ended / 1e9)
            self._first_words.hear(fds, data, self._user_of)
            self._reads.add(fds, data, began, ended, self._intake.arrived)
        if self._to_send:
            self._send_first()
        over += self._outgoing.over()
        # Who polls is to poll again at once: what comes in between has to wait at the server.
        if over or self._pollers is not None or len(self._reads) >= DIGEST or self._reads.size >= DIGEST_BYTES:
            self.digest(over)
        self._end_all(over)

    def _send_requests(self, fds: list[int]) -> None:
        """Send the requests of connections whose handshake is over."""
        assert self._securing is not None
        now = time.monotonic()
        for fd in fds:
            self._accounts.tls.count(self.in_flight.took(fd, now))
        self._outgoing.write(fds, self._securing.requests(self._users[fds].tolist()))
        self._note_written(fds, now)

    def _send_first(self) -> None:
        """Send what users send first."""
        fds, self._to_send = [fd for fd in self._to_send if self._user_of[fd]], []
        assert self._sends is not None
        self._outgoing.write(fds, self._sends(self._users[fds].tolist()))

    def _flush(self, events: list[tuple[int, int]]) -> None:
        """Write what is pending for descriptors that have events."""
        fds, connected = self._outgoing.flush(events)
        now = time.monotonic()
        for fd in connected:
            self._accounts.connect.count(self.in_flight.took(fd, now))
        self._note_written(fds, now)

    def _note_written(self, fds: list[int], now: float) -> None:
        """Look which of these connections in flight have their request written by now: they are open where nothing has
        to be answered, and a poll may be held from then on.
        """
        if self._at_once is None and self._pollers is None:
            return
        shaking = frozenset[int]() if self._securing is None else self._securing.layer.handshakes.keys()
        written = [fd for fd in fds if fd in self.in_flight and fd not in shaking and self._outgoing.has_written(fd)]
        if written and self._at_once is not None:
            self._open(written, self._at_once, 0, now, are_first=False)
            self._first_words.opened(written)
        elif self._pollers is not None:
            self._pollers.wrote_first(written, now)

    def digest(self, over: Iterable[tuple[int, int]] = ()) -> None:
        """Bring everything that was read on the accounts; connections that are over do not poll again."""
        reads, self._reads = self._reads, Reads()
        if not len(reads):
            return
        received = self._incoming.take(reads)
        owed = received.replies()
        if self._pollers is not None:
            for fd, _ in over:
                owed.pop(fd, None)
        now = reads.last / 1e9
        slow = self._reply(owed, now)
        self._lifetimes.heard(received.fds, now)
        self._accounts.post(received, self._sequences.follow(*received.numbered()), reads)
        self._end_all((slow | received.over).items())

    def _reply(self, owed: dict[int, bytes], now: float) -> Gone:
        """Write what servers are owed for what was read by now; return the connections that have to end since their
        server asks again without having read what it was sent before (`TOO_SLOW`).
        """
        if not owed:
            return {}
        if self._pollers is not None:
            silent = self._lifetimes.silent(list(owed), now)
            # What is not open yet has no time of a last byte, and is taken to be answered at once.
            waited = [0.0 if fd in self.in_flight else seconds for fd, seconds in zip(owed, silent, strict=True)]
            return self._poll(self._pollers.take(owed, waited, now))
        return self._outgoing.write_new(list(owed), [self._protocol.reply(reply) for reply in owed.values()])

    def _poll(self, fds: list[int]) -> Gone:
        """Poll again; return the connections that have to end, as `_reply` does."""
        assert self._pollers is not None
        if not fds:
            return {}
        self._accounts.polled(len(fds))
        return self._outgoing.write_new(fds, self._pollers.polls.next(fds, self._users[fds].tolist()))

    @property
    def digest_due(self) -> float:
        """When `digest` has to be called, by time.monotonic()."""
        return self._reads.first / 1e9 + DIGEST_SECONDS if len(self._reads) else float("inf")

    @property
    def has_unread(self) -> bool:
        """Whether descriptors were left that have more to read and will not be announced again."""
        return self._intake.has_unread

    def expire(self, now: float) -> None:
        """Poll again where a pause is over, and give up the connections in flight whose deadline has passed."""
        if self._pollers is not None:
            self._open_held(self._pollers, now)
            self._end_all(self._poll([fd for fd in self._pollers.take_due(now) if self._user_of[fd]]).items())
        for fd in self.in_flight.overdue(now):
            answer = self._begun_answers.get(fd)
            said_something_else = answer is not None and answer.search.has_messages
            self._end(fd, Cause.OPEN_WHEN_UNMET if said_something_else else errno.ETIMEDOUT)

    @property
    def polls_due(self) -> float:
        """When `expire` has to be called because of polls, by time.monotonic()."""
        return float("inf") if self._pollers is None else self._pollers.due

    def _open_held(self, pollers: Pollers, now: float) -> None:
        """Count connections as open whose first poll is held."""
        held = pollers.take_held(now)
        if held:
            (framing,) = self._protocol.framings
            self._open(held, Opened(framing, 0, []), 0, now, are_first=False)

    def close(self, most: int, reset: bool) -> int:
        """Close up to `most` connections, whatever their state, and return how many there were; the accounts stand.

        With `reset` the kernel drops them at once (SO_LINGER 0): a third faster, and no TIME_WAIT is left behind.
        Otherwise open ones are told so where the protocol has a word for that.
        """
        self.digest()
        fds = np.flatnonzero(self._users)[:most].tolist()
        self._users[fds] = 0
        goodbye = self._protocol.goodbye()
        if not reset and (goodbye or self._securing is not None):
            told = [fd for fd in fds if fd not in self.in_flight and fd not in self.outbox]
            self.outbox.write_last(told, [goodbye] * len(told))
        self._intake.forget(fds)
        if reset:
            closing.reset(fds)
        else:
            sweep(os.close, fds)
        self._accounts.closed(len(fds) - len(self.in_flight.keys() & fds))
        return len(fds)

    def _take_answers(self, fds: list[int], read: list[bytes], now: float) -> None:
        """Handle what was read by now of connections in flight: by the batch, or where one of them is not like the
        ones before, each half of it by itself.

        The one is parsed then, and often teaches what all behind it are like: they have a later Date.
        """
        if not fds or self._open_common(fds, read, now):
            return
        if len(fds) == 1:
            self._answer(fds[0], read[0], now)
            return
        half = len(fds) // 2
        self._take_answers(fds[:half], read[:half], now)
        self._take_answers(fds[half:], read[half:], now)

    def _open_common(self, fds: list[int], read: list[bytes], now: float) -> bool:
        """Open connections in flight that have got whole answers like one before; False if one of them has not."""
        if not self._begun_answers.keys().isdisjoint(fds):
            return False
        opened = self._answers.common(self._users[np.array(fds)].tolist(), read)
        if opened is None:
            return False
        self._open(fds, opened, sum(map(len, read)), now, are_first=True)
        return True

    def _open(self, fds: list[int], opened: Opened, size: int, now: float, are_first: bool) -> None:
        """Count connections as open whose answers so far have so many bytes together, of which the last were read by
        now; `are_first`: the first of them as well.
        """
        self.in_flight.open(fds, now, are_first)
        rows = np.array(fds)  # numpy would make it of the list each time
        self._lifetimes.opened(rows, now)
        if self._pollers is not None and are_first:
            for fd in fds:
                self._pollers.answered_first(fd)
        if self._sends is not None and are_first:
            self._to_send += fds
        if self._watch_every:
            self._watch(fds)
        self._incoming.begin(fds, opened.framing)
        self._accounts.opened(self._users[rows], self._protocol.name_of(opened.framing))
        if opened.said:
            (fd,) = fds
            reads, received = self._incoming.hear(fd, opened.said)
            self._accounts.post(received, self._sequences.follow(*received.numbered()), reads)
        if opened.bodies:
            size -= sum(map(len, opened.bodies))
            self._reads.add(fds, opened.bodies, ns := int(now * 1e9), ns)
        self._accounts.received(opened.messages * len(fds), size)

    def _watch(self, fds: list[int]) -> None:
        """Have the kernel tell when messages arrive, on those of these connections that are in the sample."""
        chosen = np.flatnonzero(in_sample(self._users[np.array(fds)], self._watch_every)).tolist()
        if chosen:
            self._accounts.latency.watched(sum(self._intake.watch(fds[index]) for index in chosen))

    def _answer(self, fd: int, data: bytes, now: float) -> None:
        """Parse an answer that is not like the ones before it."""
        answer = self._begun_answers.get(fd)
        if answer is None:
            answer = self._begun_answers[fd] = self._answers.begin(self._user_of[fd])
            self._accounts.first_byte.count(self.in_flight.took(fd, now))
            if self._pollers is not None:
                self._pollers.answered_first(fd)
        opened, why, had_no_head = None, None, not answer.has_head
        try:
            opened = answer.add(data, int(now * 1e9))
        except NotOpened as error:
            why = error
        if self._sends is not None and had_no_head and answer.has_head and why is None:
            self._to_send.append(fd)
        self._accounts.pings(answer.pings)
        slow = self._reply({fd: answer.reply}, now) if answer.reply else {}
        if why is not None:
            self._end(fd, why.code, why.note)
        elif slow:
            self._end(fd, slow[fd])
        elif opened is not None:
            del self._begun_answers[fd]
            if self._answers.looks_like_an_error(answer.begin):
                self._accounts.answered(self._user_of[fd], Phase.OPEN, Cause.SAID_ERROR, answer.begin, None)
            self._open([fd], opened, answer.size, now, are_first=False)

    def _end_all(self, over: Iterable[tuple[int, int]]) -> None:
        """End connections, each with a code; those that have been ended since the code was found are passed over."""
        for fd, code in over:
            if self._user_of[fd]:
                self._end(fd, code)

    def _end(self, fd: int, code: int, note: str | None = None) -> None:
        """Close a connection that ended by itself, and account for it; `note` is what the head of its answer adds."""
        user, answer = self._user_of[fd], self._begun_answers.pop(fd, None)
        if code < _ERRNOS:
            code = self._outgoing.why(fd, code)
        if self.in_flight.pop(fd, None) is None:
            phase = Phase.OPEN
            code = self._incoming.cut(fd) if code == END else code
            self._lifetimes.ended(fd, time.monotonic())
            self._accounts.closed_early(user, code)
            self._first_words.ended(fd, user, code)
        else:
            begin = None if answer is None else answer.begin
            phase = Phase.RESPONSE if answer is not None else self._outgoing.phase(fd, code)
            failure = None if self._securing is None else self._securing.failure(fd, code)
            if failure is not None and phase != Phase.CONNECT:
                phase, (code, begin, note) = Phase.TLS, failure
            code = code if code != END else Cause.NO_ANSWER if answer is None else Cause.CUT
            self._accounts.failed(user, phase, code)
            if begin is not None and (begin or note):  # of a handshake of TLS there may be neither
                self._accounts.answered(user, phase, code, begin, note)
        if self._ended is not None:
            self._ended.append(End(user, phase, code))
        self._incoming.forget(fd)
        self._outgoing.forget(fd)
        self._intake.forget([fd])
        if self._pollers is not None:
            self._pollers.forget(fd)
        self._user_of[fd] = 0
        os.close(fd)
