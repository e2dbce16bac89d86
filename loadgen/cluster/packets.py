"""Packets: messages as bytes in a stream, each behind its length in four bytes (big-endian). Pure, and without trio.

In: pieces of a stream as they come. Out: whole packets. Fails: WorkerFault for a length beyond `MAX_PACKET`, so that
nothing a peer sends makes this end keep more than that.
"""

from floodtest.flyweight.errors import WorkerFault

HEADER = 4
MAX_PACKET = 4 << 20
"""Bytes. A reading with all buckets of latency in use has some 100 KB."""


def pack(data: bytes) -> bytes:
    """Return a packet as it stands in the stream."""
    if len(data) > MAX_PACKET:
        raise WorkerFault(f"A message of {len(data):,} bytes is larger than {MAX_PACKET:,}, which is the most.")
    return len(data).to_bytes(HEADER, "big") + data


class Unpacker:
    """Takes a stream apart into packets."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes | bytearray) -> list[bytes]:
        """Return the packets that are whole with this piece of the stream."""
        self._rest += data
        packets, place = list[bytes](), 0
        while place + HEADER <= len(self._rest):
            size = int.from_bytes(self._rest[place : place + HEADER], "big")
            if size > MAX_PACKET:
                raise WorkerFault(f"A message of {size:,} bytes was announced; {MAX_PACKET:,} is the most.")
            end = place + HEADER + size
            if end > len(self._rest):
                break
            packets.append(bytes(self._rest[place + HEADER : end]))
            place = end
        del self._rest[:place]
        return packets
