"""How each end of a run may hold its connections: one table an end, asked by all that depends on a model. Pure.

The client's workers are ours to start, so its table names their module. Of the bundled server a run knows the names
that `comet serve --model` takes and what each takes of memory; `server_under_test.models` has the rest, and a test
holds that both have the same names.
"""

from dataclasses import dataclass, replace
from typing import Literal

from floodtest.loadgen.plan.choices import Ports
from floodtest.wire.names import LONGPOLL, RAW, WEBSOCKET

MIB = 1 << 20

ClientModel = Literal["columns", "httpx"]

ServerModel = Literal["columns", "tasks"]


@dataclass(frozen=True)
class UserMemory:
    """What an end takes of user memory, in bytes: once, a process, a worker, a connection, and that with traffic."""

    once: int
    process: int
    worker: int
    connection: int
    with_traffic: int

    def of(self, connections: int, workers: int, processes: int, traffic: bool) -> int:
        each = self.with_traffic if traffic else self.connection
        return self.once + self.process * processes + self.worker * workers + each * connections

    def with_each(self, connection: int) -> "UserMemory":
        """Return this memory with so many bytes a connection, with traffic and without."""
        return replace(self, connection=connection, with_traffic=connection)


@dataclass(frozen=True)
class ServerTraits:
    """What depends on a model of the bundled server."""

    words: str
    """What it is, in the help of the command line."""
    memory: UserMemory


@dataclass(frozen=True)
class ClientTraits:
    """What depends on a model of the client."""

    worker: str
    """The module of its workers, which has their `worker_main` (see `flyweight.processes.nursery`)."""
    words: str
    """What it is, in the help of the command line."""
    memory: UserMemory
    chooses_ports: bool
    """Whether it can bind a connection to the source port of the plan; if not, the kernel chooses."""
    lacks: frozenset[str] = frozenset()
    """Protocols that it can't open."""

    @property
    def ports(self) -> Ports:
        """Who chooses source ports unless it is said."""
        return "explicit" if self.chooses_ports else "kernel"


_SERVER = UserMemory(51 * MIB, int(4.4 * MIB), 144 << 10, 5, 23)
_CLIENT = UserMemory(52 * MIB, int(4.4 * MIB), 184 << 10, 17, 23)
"""Of the columns, as measured (docs/benchmarks.md). With a task a connection it is whole KiB each."""

POLL_BYTES = 37
"""Bytes more for a connection that polls, in columns: a cursor, which is seldom over 32 bytes, and its pauses."""

TLS_MEMORY = UserMemory(0, 12 * MIB, 6 << 20, 202, 202)
"""What an end takes besides where it speaks TLS: OpenSSL and its bindings once a process, the context of a worker, and
the handshakes of one that are under way; and keys in columns for each connection."""

TLS_OBJECT_BYTES = 35 << 10
"""Of a connection that keeps its object of OpenSSL: of TLS 1.2, and of models that are no columns."""

SERVER_MODELS: dict[ServerModel, ServerTraits] = {
    "columns": ServerTraits("in columns", _SERVER),
    "tasks": ServerTraits("a trio task each", _SERVER.with_each(8 << 10)),
}

CLIENT_MODELS: dict[ClientModel, ClientTraits] = {
    "columns": ClientTraits("floodtest.loadgen.client.columns", "in columns", _CLIENT, chooses_ports=True),
    "httpx": ClientTraits(
        "floodtest.loadgen.client.tasks",
        "an httpx stream and a task each",
        _CLIENT.with_each(24 << 10),
        chooses_ports=False,
        lacks=frozenset({WEBSOCKET, LONGPOLL, RAW}),
    ),
}

DEFAULT_SERVER_MODEL: ServerModel = "columns"
DEFAULT_CLIENT_MODEL: ClientModel = "columns"
"""Those of a run unless it is said."""
