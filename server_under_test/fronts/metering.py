"""What clients over TLS send besides what they say: heads of records, padding, records without data, updates of keys.

In: what a layer is given and gives (`flyweight.engine.layer`). Out: by descriptor the bytes by which what was read of
the socket is more than its text, since the last time that somebody took them; less than 0 where a record became whole
whose beginning had come before. Cost: an addition a read.
"""

from collections.abc import Iterable

from floodtest.flyweight.engine.layer import Layer, Over, Sweep


class Meter:
    """A layer that counts what another one reads."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._unsaid: dict[int, int] = {}
        self.seal, self.seal_last = layer.seal, layer.seal_last

    def open(self, sweeps: list[Sweep], over: Over) -> tuple[list[Sweep], Over]:
        texts, over = self._layer.open(sweeps, over)
        for sign, rows in ((1, sweeps), (-1, texts)):
            for fds, data, _, _ in rows:
                for fd, read in zip(fds, data, strict=True):
                    self._unsaid[fd] = self._unsaid.get(fd, 0) + sign * len(read)
        return texts, over

    def take(self) -> dict[int, int]:
        """Return the bytes of each, which are counted anew from now on."""
        unsaid, self._unsaid = self._unsaid, {}
        return unsaid

    def forget(self, fds: Iterable[int]) -> None:
        self._layer.forget(fds)
