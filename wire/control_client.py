"""The client of the control API: httpx on trio, for whoever asks a `comet serve` for figures or publishes by it.

In: the URL of a control API, its token if it has one, and the seconds that an answer may take in all. Out: the structs
of `wire.control`. Connections are used again, as many as there are calls at a time; proxies and the rest of httpx's
environment are not looked at, and no redirect is followed. Of an answer at most `MAX_ANSWER` bytes are kept.
Fails: every call raises a `ControlError`, which says whether nobody answers (`NoAnswer`), the server declined
(`BadStatus`), or what answers speaks another language (`NotComet`); Refused for a URL that is none.
"""

from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec
import trio

from floodtest.flyweight.errors import Refused
from floodtest.wire.control import MALFORMED, PUBLISH_PATH, STATS_PATH, TICK_PATH, Published, Stats, TickPeriod

ANSWER_SECONDS = 60.0
"""A publisher waits in turn with others, and for fronts that write."""

MAX_ANSWER = 1 << 24
"""Bytes: GET /stats takes some 150 for each of 256 ticks, and 10 for each front."""

MAX_SHOWN = 500
"""Characters of what a server says that stand in an error."""

MAX_DELIVERIES = 1 << 32
"""More than the connections that one message can go to; sums of such numbers stay far below 64 bits."""

_UNANSWERED = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)
"""What httpx raises where no server answers: InvalidURL for a redirect to what is no URL, which it looks at even if it
does not follow it, and UnicodeError for a host name that none can be."""

T = TypeVar("T", Published, Stats, TickPeriod)

_STATS = msgspec.json.Decoder(Stats)
_PUBLISHED = msgspec.json.Decoder(Published)
_TICK_PERIOD = msgspec.json.Decoder(TickPeriod)


class ControlError(Refused):
    """A call brought no answer that can be used; `brief` says so to a person who knows which server was asked."""

    def __init__(self, sentence: str, brief: str) -> None:
        super().__init__(sentence)
        self.brief = brief


class NoAnswer(ControlError):
    """Nobody listens there, the connection broke, or the answer did not come in time."""

    def __init__(self, url: str, reason: str, brief: str) -> None:
        super().__init__(
            f"No comet serve answers at {url} ({reason}). Start one, or name its --control URL.",
            f"the server does not answer ({brief})",
        )


class BadStatus(ControlError):
    """The server answered, and did not do what it was asked for."""

    def __init__(self, url: str, status: int, text: str) -> None:
        said = f"answered {status}: {text}"
        super().__init__(f"The server at {url} {said}", f"the server {said}")
        self.status = status


class NotComet(ControlError):
    """The answer is none that a `comet serve` of this version, or a newer one, would give."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"What answers at {url} is no comet serve ({reason}). Name its --control URL.",
            f"what answers is no comet serve ({reason})",
        )


class ControlClient:
    """A client of one control API, while its block lasts.

    `transport` stands for the network, for who tests what calls this.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        answer_seconds: float = ANSWER_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url
        self._seconds = answer_seconds
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            # The deadline of a call is ours: httpx has one for each read, which a server that trickles never meets.
            # To load certificates takes 30 ms, and http needs none.
            is_https = url.lower().startswith("https:")
            self._http = httpx.AsyncClient(
                base_url=url, headers=headers, timeout=None, trust_env=False, transport=transport, verify=is_https
            )
        except httpx.InvalidURL as error:
            raise Refused(
                f"--control {url} is no URL ({error}). The server's is such as http://127.0.0.1:8001."
            ) from error

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def stats(self) -> Stats:
        """Return the figures of the server."""
        return self._decoded(await self._call("GET", STATS_PATH), _STATS)

    async def set_tick(self, seconds: float | None) -> None:
        """Have a message sent to every connection each so many seconds; None: no longer."""
        body = msgspec.json.encode(TickPeriod(seconds))
        self._decoded(await self._call("PUT", TICK_PATH, body), _TICK_PERIOD)

    async def publish(self, batch: bytes, messages: int) -> Published:
        """Publish a batch of so many lines; return where they are on their way to, once they are."""
        published = self._decoded(await self._call("POST", PUBLISH_PATH, batch), _PUBLISHED)
        if published.messages != messages:
            raise NotComet(self.url, f"an answer for {published.messages:,} messages, where {messages:,} were sent")
        if not 0 <= published.deliveries <= messages * MAX_DELIVERIES:
            raise NotComet(self.url, f"{published.deliveries:,} deliveries")
        return published

    async def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the body of the answer to a call that succeeded."""
        answer = bytearray()
        try:
            with trio.fail_after(self._seconds):
                async with self._http.stream(method, path, content=body) as response:
                    async for part in response.aiter_bytes():  # to the end: the connection can be used again then
                        answer += part[: MAX_ANSWER + 1 - len(answer)]
        except trio.TooSlowError as error:
            late = f"nothing within {self._seconds:g} s"
            raise NoAnswer(self.url, late, late) from error
        except _UNANSWERED as error:
            kind = type(error).__name__
            raise NoAnswer(self.url, str(error) or kind, kind) from error
        if not response.is_success:
            raise BadStatus(self.url, response.status_code, answer.decode(errors="replace").strip()[:MAX_SHOWN])
        if len(answer) > MAX_ANSWER:
            raise NotComet(self.url, f"an answer of over {MAX_ANSWER:,} bytes")
        return bytes(answer)

    def _decoded(self, answer: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
        try:
            return decoder.decode(answer)
        except MALFORMED as error:
            raise NotComet(self.url, str(error)) from error
