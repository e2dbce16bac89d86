"""A module of workers for tests: each says who it is, and then does what it is told."""

import os
import socket

import msgspec

from floodtest.flyweight.processes.channel import Message


class Hello(Message, frozen=True):
    """Who a worker is; `inherited` is whether the descriptors it was given work."""

    specification: bytes
    pid: int
    open_files: int
    inherited: bool


class Do(Message, frozen=True):
    """`crash`, or `hello`."""

    what: str


def worker_main(specification: bytes, sock: socket.socket, descriptors: list[int]) -> None:
    """Answer until the parent closes the channel."""
    order = Do("hello")
    while True:
        if order.what == "crash":
            raise RuntimeError("told to")
        files = len(os.listdir("/proc/thread-self/fd"))
        inherited = all(os.fstat(descriptor) for descriptor in descriptors)
        sock.send(msgspec.msgpack.encode(Hello(specification, os.getpid(), files, inherited)))
        data = sock.recv(4096)
        if not data:
            return
        order = msgspec.msgpack.decode(data, type=Do)
