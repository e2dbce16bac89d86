"""The part of the control API that messages and subscriptions come in by.

A batch is NDJSON, one object a line, and is taken whole or not at all. A publisher is answered when its batch is on its
way to the connections, and who changes subscriptions when the change is on disk; until then they wait. A batch takes a
place among those that wait only when it is whole, so that one that comes slowly keeps nobody else waiting.
"""

from http import HTTPStatus

import msgspec
import trio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.control.bodies import bad_line, decode_lines, json_answer, read_body
from floodtest.server_under_test.routing.router import Publisher
from floodtest.server_under_test.routing.subjects import BadSubject, Subject, as_subject, as_user
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.wire.control import (
    MAX_BATCH,
    MAX_BATCH_BYTES,
    PUBLISH_PATH,
    SUBSCRIPTIONS_PATH,
    Added,
    Publication,
    Published,
    Removed,
    Subscribers,
    Subscription,
)
from floodtest.wire.stamp import MAX_TEXT

BATCHES = 16
"""Batches of messages, and as many of changes, that are taken apart and wait at one time; the next wait as bytes."""


_PUBLICATIONS = msgspec.json.Decoder(Publication)
_SUBSCRIPTIONS = msgspec.json.Decoder(Subscription)


def read_publications(body: bytes) -> tuple[list[Subject], list[bytes]]:
    """Return subjects and texts of a batch; HTTPException for a bad line, with its number."""
    subjects: list[Subject] = []
    texts: list[bytes] = []
    for number, line in decode_lines(body, _PUBLICATIONS, MAX_BATCH):
        try:
            subjects.append(as_subject(line.subject))
            text = line.message.encode()
        except (BadSubject, UnicodeEncodeError) as error:
            raise bad_line(number, error) from error
        if len(text) > MAX_TEXT:
            raise bad_line(number, f"The message has {len(text):,} bytes, and {MAX_TEXT:,} are the most.")
        texts.append(text)
    return subjects, texts


def read_subscriptions(body: bytes) -> list[tuple[int, Subject]]:
    """Return the pairs of a batch; HTTPException for a bad line, with its number."""
    pairs = []
    for number, line in decode_lines(body, _SUBSCRIPTIONS, MAX_BATCH):
        try:
            pairs.append((as_user(line.subscriber), as_subject(line.subject)))
        except BadSubject as error:
            raise bad_line(number, error) from error
    return pairs


def routes(publisher: Publisher, store: Store | None) -> list[Route]:
    """Return the routes for a publisher and its store."""
    publishing, changing = trio.CapacityLimiter(BATCHES), trio.CapacityLimiter(BATCHES)
    writing = trio.CapacityLimiter(1)  # LMDB lets one write at a time: more threads would only wait

    async def publish(request: Request) -> Response:
        body = await read_body(request, MAX_BATCH_BYTES)
        async with publishing:
            subjects, texts = read_publications(body)
            try:
                deliveries = await publisher.publish(subjects, texts)
            except Refused as error:
                raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        return json_answer(Published(len(subjects), deliveries))

    async def change(store: Store, method: str, body: bytes) -> Added | Removed:
        pairs = read_subscriptions(body)
        if method == "POST":
            added = await trio.to_thread.run_sync(store.add_subscriptions, pairs, limiter=writing)
            return Added(len(pairs), added)
        removed = await trio.to_thread.run_sync(store.remove_subscriptions, pairs, limiter=writing)
        return Removed(len(pairs), removed)

    async def subscriptions(request: Request) -> Response:
        if store is None:
            raise HTTPException(HTTPStatus.CONFLICT, "This server has no subscription store: start it with --db DIR.")
        try:
            if request.method in ("GET", "HEAD"):
                subject = as_subject(request.query_params.get("subject", ""))
                return json_answer(Subscribers(subject, store.subscribers(subject).tolist()))
            body = await read_body(request, MAX_BATCH_BYTES)
            async with changing:
                return json_answer(await change(store, request.method, body))
        except BadSubject as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from error
        except Refused as error:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error

    return [
        Route(PUBLISH_PATH, publish, methods=["POST"]),
        Route(SUBSCRIPTIONS_PATH, subscriptions, methods=["GET", "POST", "DELETE"]),
    ]
