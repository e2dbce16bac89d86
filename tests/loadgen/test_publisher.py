"""loadgen.publisher: every planned message is published at its time or accounted for, to whom it is said to go."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

import httpx
import msgspec
import numpy as np
import pytest
import trio
from trio.testing import MockClock

from floodtest.flyweight.processes.launch import Done
from floodtest.loadgen.client.accounts import State
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.publication import Order, split_request
from floodtest.loadgen.publisher.publisher import HOPELESS, PATIENCE, SHOWN, Publisher
from floodtest.loadgen.publisher.remedies import remedy_of
from floodtest.loadgen.run import message_processes
from floodtest.wire.control import GRACE, Generated
from floodtest.wire.mark import EVERYBODY
from floodtest.wire.messages import reader_of_marks

RUN = "0123abcd"
USERS = 50
ENDED = "their publisher ended by itself, {}; its last words are in messages.log of the record"
OPTIONS = MessageOptions(
    rate=100.0,
    seconds=2.0,
    publish=("POST", "http://there/pub/{user}"),
    publish_body='{"to": {user}, "text": "{message}"}',
    publish_header=("X-User: {user}",),
)

Handler = Callable[[httpx.Request], httpx.Response]


def order(folder: Path, options: MessageOptions = OPTIONS, is_open: Callable[[int], bool] = lambda user: True) -> Order:
    """Return an order about users from 101 on, with connections that are open or closed."""
    states = [State.OPEN if is_open(user) else State.CLOSED_EARLY for user in range(101, 101 + USERS)]
    (folder / "states.u8").write_bytes(bytes(states))
    return msgspec.json.decode(msgspec.json.encode(options.order(RUN, 101, folder / "states.u8")), type=Order)


def publish(order: Order, handle: Handler, seconds: float = 0.0) -> tuple[Generated, list[httpx.Request]]:
    """Publish to a server that takes so many seconds for each message; return the outcome and the requests."""
    requests: list[httpx.Request] = []

    async def serve(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        await trio.sleep(seconds)
        return handle(request)

    async def main() -> Generated:
        async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as client:
            return await Publisher(order, client, np.random.default_rng(1)).run()

    return trio.run(main, clock=MockClock(autojump_threshold=0)), requests


def taken(request: httpx.Request) -> httpx.Response:
    return httpx.Response(202)


def test_every_message_is_published_with_the_running_number_of_its_user(tmp_path: Path) -> None:
    outcome, requests = publish(order(tmp_path), taken)
    assert (outcome.planned, outcome.published, outcome.deliveries, outcome.error) == (200, 200, 200, None)
    assert (outcome.late, outcome.most_behind < 0.1, outcome.unpublished) == (0, True, 0)
    numbers: defaultdict[str, list[int]] = defaultdict(list)  # requests of one instant come in any order
    for request in requests:
        user = request.url.path.removeprefix("/pub/")
        assert 101 <= int(user) <= 150
        body = json.loads(request.content)
        assert (body["to"], request.headers["X-User"], len(body["text"])) == (int(user), user, 100)
        said = reader_of_marks(RUN)([request.content])
        assert said.subjects == (int(user),)
        numbers[user].append(said.numbers[0])
    assert all(sorted(of_user) == list(range(1, len(of_user) + 1)) for of_user in numbers.values())
    planned = sorted(reader_of_marks(RUN)([request.content]).stamps[0][0] for request in requests)
    assert np.diff(planned).tolist() == pytest.approx([10**7] * 199, abs=2)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "application/json"),
        ({"publish_body": None}, "text/plain; charset=utf-8"),
        ({"publish_body": "text={message}"}, "text/plain; charset=utf-8"),
        ({"publish_body": '{"to": {user}, "text": {message}}'}, "text/plain; charset=utf-8"),
        ({"publish_header": ("content-type: a/b",)}, "a/b"),
        ({"publish_header": ("Content-Type:",)}, ""),
        ({"publish": ("GET", "http://there/?text={message}"), "publish_body": None}, None),
    ],
)
def test_a_body_has_the_media_type_that_it_is_of(given: dict[str, Any], expected: str | None, tmp_path: Path) -> None:
    """A service whose parser passes over what has none (express.text) would take each message and send nothing on."""
    _, requests = publish(order(tmp_path, replace(OPTIONS, **given)), taken)
    assert {request.headers.get("Content-Type") for request in requests} == {expected}


def test_messages_are_about_users_whose_connection_is_open(tmp_path: Path) -> None:
    outcome, requests = publish(order(tmp_path, is_open=lambda user: user in (103, 150)), taken)
    assert {request.url.path for request in requests} == {"/pub/103", "/pub/150"}
    assert outcome.deliveries == 200


def test_to_all_means_a_delivery_for_each_open_connection_and_one_row_of_numbers(tmp_path: Path) -> None:
    options = replace(OPTIONS, publish=("POST", "http://there/pub"), deliver_to="all", publish_body=None)
    outcome, requests = publish(order(tmp_path, options, is_open=lambda user: user < 111), taken)
    assert (outcome.published, outcome.deliveries) == (200, 2000)
    said = [reader_of_marks(RUN)([request.content]) for request in requests]
    assert sorted(one.numbers for one in said) == [(n,) for n in range(1, 201)]
    assert {one.subjects for one in said} == {(EVERYBODY,)}


def test_a_server_that_takes_its_time_makes_messages_late_and_leaves_some(tmp_path: Path) -> None:
    outcome, _ = publish(order(tmp_path, replace(OPTIONS, rate=1000.0)), taken, seconds=1.0)
    assert outcome.planned == 2000
    assert outcome.published == 128 * 3 == 2000 - outcome.unpublished  # at 0, 1 and 2 s, before the grace is over
    assert outcome.late > 1000
    assert outcome.most_behind == pytest.approx(2 + GRACE - 0.384, abs=0.1)


def test_what_is_not_taken_is_counted_and_named(tmp_path: Path) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("0"):
            raise httpx.ConnectError("nobody there")
        return httpx.Response(503 if request.url.path.endswith("1") else 200)

    outcome, requests = publish(order(tmp_path), handle)
    ends = Counter(request.url.path[-1] for request in requests)
    assert outcome.published == outcome.deliveries == 200 - ends["0"] - ends["1"]
    assert outcome.error is not None
    assert f"{ends['0'] + ends['1']} messages could not be published" in outcome.error
    assert f"{ends['1']} x HTTP 503 Service Unavailable" in outcome.error
    assert f"{ends['0']} x ConnectError" in outcome.error
    remedies = {"ConnectError": "Nobody listens there", "HTTP 503": "Look into the service's log"}
    most = "ConnectError" if ends["0"] > ends["1"] else "HTTP 503"
    assert [name for name, words in remedies.items() if words in outcome.error] == [most]


def test_what_may_have_been_taken_is_told_apart(tmp_path: Path) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("broken off")

    outcome, _ = publish(order(tmp_path), handle)
    assert (outcome.published, outcome.deliveries) == (0, 0)
    assert outcome.error is not None
    assert outcome.error.startswith("200 messages may have been published or not: 200 x ReadError. Look whether")
    outcome, _ = publish(order(tmp_path, replace(OPTIONS, rate=5.0)), taken, seconds=PATIENCE + 1)
    assert outcome.error is not None
    words = f"10 messages may have been published or not: 10 x no answer in {PATIENCE:g} s. Look whether"
    assert outcome.error.startswith(words)


def test_what_a_service_says_of_a_refusal_is_shown_up_to_a_bound(tmp_path: Path) -> None:
    outcome, _ = publish(order(tmp_path), lambda request: httpx.Response(422, text='{"no": "channel"}\n' + "x" * 5000))
    assert outcome.error is not None
    tried, left = re.findall(r"(\d+) messages could not|The other (\d+) were not tried", outcome.error)
    assert int(tried[0]) + int(left[1]) == outcome.planned == 200
    said = '{"no": "channel"}\\n' + "x" * (SHOWN - 18)
    assert f" x HTTP 422 {HTTPStatus(422).phrase} ({said}). Hold --publish-body" in outcome.error


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("ConnectError", "hold host and port of --publish"),
        ("HTTP 301 Moved Permanently", "redirects"),
        ("HTTP 400 Bad Request", "--publish-body"),
        ("HTTP 401 Unauthorized", "--publish-header 'Authorization"),
        ("HTTP 404 Not Found", "the path of --publish"),
        ("HTTP 405 Method Not Allowed", "the method"),
        ("HTTP 409 Conflict", "what the service checks"),
        ("HTTP 415 Unsupported Media Type", "the media type"),
        ("HTTP 502 Bad Gateway", "log"),
        ("RemoteProtocolError", "keeps up"),
    ],
)
def test_what_is_not_taken_has_a_remedy(cause: str, words: str) -> None:
    remedy = remedy_of(cause)
    assert remedy is not None
    assert words in remedy
    assert remedy_of("nobody is connected") is None


def test_how_far_it_has_come_is_said_all_the_while(tmp_path: Path) -> None:
    said: list[int] = []

    async def main() -> Generated:
        async with httpx.AsyncClient(transport=httpx.MockTransport(taken)) as client:
            publisher = Publisher(order(tmp_path), client, np.random.default_rng(1))
            return await publisher.run(lambda outcome: said.append(outcome.published))

    assert trio.run(main, clock=MockClock(autojump_threshold=0)).published == 200
    assert len(said) == 4  # at 0, 0.5, 1 and 1.5 s; the last message is due before 2 s
    assert sorted(said) == said


@pytest.mark.parametrize(
    ("status", "before", "error"),
    [
        (0, "2 messages could not be published", "2 messages could not be published"),
        (-9, None, ENDED.format("by signal 9")),
        (1, "2 messages could not be published", ENDED.format("with status 1") + "; 2 messages could not be published"),
    ],
)
def test_a_publisher_that_ends_by_itself_is_named(
    status: int, before: str | None, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has said how far it had come, and what it says last is only a part."""
    last = Generated(planned=200, published=7, deliveries=9, late=0, most_behind=0.1, seconds=0.0, error=before)

    async def ends(*_: object, stdout: IO[bytes], **__: object) -> Done:
        stdout.write(msgspec.json.encode(last) + b'\n{"planned": 200, "publ')
        return Done(status, b"", b"")

    monkeypatch.setattr(message_processes, "run_to_end", ends)
    said: list[Generated | None] = []
    trio.run(message_processes.publish, order(tmp_path), tmp_path, said.append)
    assert said == [msgspec.structs.replace(last, error=error)]


def test_where_nothing_is_taken_the_rest_is_not_tried(tmp_path: Path) -> None:
    outcome, requests = publish(order(tmp_path), lambda _: httpx.Response(403))
    assert (outcome.published, outcome.planned) == (0, 200)
    assert HOPELESS <= len(requests) < 200
    outcome, requests = publish(order(tmp_path, is_open=lambda user: False), taken)
    assert (requests, outcome.published) == ([], 0)
    assert outcome.error is not None
    assert "nobody is connected" in outcome.error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h/{user}", ("POST", "http://h/{user}")),
        ("POST https://h/", ("POST", "https://h/")),
        ("PUT http://h/", ("PUT", "http://h/")),
        ("DELETE http://h/", None),
        ("h/{user}", None),
        ("POST", None),
        ("POST http://h/ x", None),
        ("POST http://[::1/pub", None),
        ("http://h:99999/pub", None),
        ("http://h\u00e9/pub", None),
        ("http://{user}/pub", None),
        ("http:///pub", None),
    ],
)
def test_what_is_asked_for_names_a_method_or_none(text: str, expected: tuple[str, str] | None) -> None:
    if expected is not None:
        assert split_request(text) == expected
    else:
        with pytest.raises(ValueError, match=re.escape(text)):
            split_request(text)
