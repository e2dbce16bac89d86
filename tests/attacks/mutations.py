"""Mutations: bytes that a peer may send, changed a little. Pure; all chance comes from the source that is given."""

from collections.abc import Callable, Sequence
from random import Random

NUMBERS = [
    *(b"0", b"-1", b"+1", b"00", b"1.0", b"1e3", b"0x1", b"1_0", b" 1", b"\xd9\xa3", b"\xc2\xb2"),
    *(b"255", b"256", b"65535", b"65536", b"1048576", b"1048577", b"99999999", b"999999999", b"1000000000"),
    *(b"2147483647", b"2147483648", b"4294967295", b"4294967296", b"9223372036854775807", b"9223372036854775808"),
    *(b"18446744073709551616", b"9" * 40, b"9" * 5000),
]
"""What may stand where a number is expected: about the bounds of columns and digits, and what is none."""

BYTES = [b"\x00", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\t", b" ", b":", b";", b",", b"%", b"/", b'"', b"\\"]
BYTES += [b"\x7f", b"\x80", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b"#", b"@", b"+", b"0"]

Mutation = Callable[[Random, bytes], bytes]


def _slice(random: Random, data: bytes, most: int = 40) -> slice:
    start = random.randrange(len(data) + 1)
    return slice(start, min(len(data), start + random.randrange(1, most)))


def flip(random: Random, data: bytes) -> bytes:
    """Turn one bit over."""
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def insert(random: Random, data: bytes) -> bytes:
    """Put in a byte that means something somewhere, or some bytes at random."""
    at = random.randrange(len(data) + 1)
    new = random.choice(BYTES) if random.random() < 0.7 else random.randbytes(random.randrange(1, 9))
    return data[:at] + new + data[at:]


def remove(random: Random, data: bytes) -> bytes:
    """Take out a piece."""
    gone = _slice(random, data)
    return data[: gone.start] + data[gone.stop :]


def repeat(random: Random, data: bytes) -> bytes:
    """Send a piece twice."""
    twice = _slice(random, data)
    return data[: twice.stop] + data[twice] + data[twice.stop :]


def swap(random: Random, data: bytes) -> bytes:
    """Let two pieces change places."""
    one, two = sorted((_slice(random, data), _slice(random, data)), key=lambda piece: piece.start)
    one = slice(one.start, min(one.stop, two.start))
    return data[: one.start] + data[two] + data[one.stop : two.start] + data[one] + data[two.stop :]


def renumber(random: Random, data: bytes) -> bytes:
    """Put another number where one stands."""
    places = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
    if not places:
        return insert(random, data)
    start = stop = random.choice(places)
    while stop < len(data) and 48 <= data[stop] <= 57:
        stop += 1
    return data[:start] + random.choice(NUMBERS) + data[stop:]


def cut(random: Random, data: bytes) -> bytes:
    """End early."""
    return data[: random.randrange(1, len(data) + 1)]


ANYWHERE: list[Mutation] = [flip, insert, insert, remove, repeat, swap, renumber, cut]


def mutate(random: Random, data: bytes, mutations: Sequence[Mutation], most: int = 3) -> bytes:
    """Change data by some mutations, at least one; what is left is never empty."""
    for _ in range(random.choice([1, 1, 1, *range(1, most + 1)])):
        data = random.choice(mutations)(random, data) or data
    return data


def pieces_of(random: Random, data: bytes) -> list[bytes]:
    """Cut data into the pieces it is sent in: one mostly, sometimes a few, seldom single bytes."""
    chance = random.random()
    if chance < 0.7 or len(data) < 2:
        return [data]
    if chance < 0.71 and len(data) < 400:
        return [data[at : at + 1] for at in range(len(data))]
    edges = sorted({random.randrange(1, len(data)) for _ in range(random.randrange(1, 5))})
    return [data[start:stop] for start, stop in zip([0, *edges], [*edges, len(data)], strict=True)]
