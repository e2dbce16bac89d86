"""Bodies of the control API: requests' are read within bounds and taken apart by the line, answers' are encoded."""

from http import HTTPStatus
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from floodtest.wire.control import MALFORMED

T = TypeVar("T")


def json_answer(answer: msgspec.Struct) -> Response:
    """Return an answer of the control API as what is sent."""
    return Response(msgspec.json.encode(answer), media_type="application/json")


async def read_body(request: Request, most: int) -> bytes:
    """Return the body; HTTPException 413 once it is over `most` bytes, or says in its head that it will be.

    How long that may take is bounded by the connection (see `server_under_test.control.connection`).
    """
    too_large = HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is over {most:,} bytes. Send less at once."
    )
    if int(request.headers.get("Content-Length", 0)) > most:
        raise too_large
    body = bytearray()  # and no list of parts, which take 40 bytes each, were there but one byte in them
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise too_large
    return bytes(body)


def bad_line(number: int, problem: object) -> HTTPException:
    """Return what to raise for a line (from 1) that makes no sense."""
    return HTTPException(HTTPStatus.BAD_REQUEST, f"Line {number}: {problem} Nothing of the batch was done.")


def decode_lines(body: bytes, decoder: "msgspec.json.Decoder[T]", most: int) -> list[tuple[int, T]]:
    """Return the number of each line that is not blank, from 1, and what stands on it (NDJSON).

    HTTPException 400 with the number of a bad one, 413 over `most` lines, blank ones included.
    """
    lines = body.splitlines()
    if len(lines) > most:
        raise HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The batch has {len(lines):,} lines, and {most:,} are the most."
        )
    decoded = []
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if line.strip(b" \t"):
                decoded.append((number, decoder.decode(line)))
    except MALFORMED as error:
        raise bad_line(number, f"{error}.") from error
    return decoded
