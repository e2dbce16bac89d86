"""Which machines open the connections of a run, if it is not this one: the options for it, and what is wrong with them.
Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.options import option, repeatable
from floodtest.flyweight.command.parsers import Parser

MOST_LOCAL = 64
"""Workers that are started on this machine at the most."""

_SCHEDULER = re.compile(r"(tcp|tls|ws|wss)://[^\s/]+:\d{1,5}")
_LOCAL = re.compile(r"local:(\d{1,3})")


def _cluster(text: str) -> str:
    found = _LOCAL.fullmatch(text)
    if not _SCHEDULER.fullmatch(text) and not (found and 1 <= int(found[1]) <= MOST_LOCAL):
        raise ValueError(text)
    return text


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or any(re.search(r"\s", name) or name.startswith("-") for name in names):
        raise ValueError(text)
    return names


def _base_ip(text: str) -> tuple[str, str]:
    host, equals, address = text.partition("=")
    if not (host and equals and address):
        raise ValueError(text)
    return host, address


CLUSTER = Parser(_cluster, f"the scheduler tcp://HOST:PORT of a Dask cluster, or local:N with N from 1 to {MOST_LOCAL}")
HOSTS = Parser(_names, "names of machines with commas between them")
HOST_BASE_IP = Parser(_base_ip, "HOST=ADDRESS")


@dataclass(frozen=True)
class ClusterOptions:
    """The machines that open the connections: none of these, and it is this one."""

    scheduler: str | None = option(
        None,
        CLUSTER,
        "ADDRESS",
        "Have the workers of a Dask cluster open the connections: tcp://SCHEDULER:8786, or local:N for N on this "
        "machine.",
        "--cluster",
    )
    hosts: tuple[str, ...] = option(
        (), HOSTS, "HOST,…", "Have these machines open the connections: a Dask cluster that ends with the run, by ssh."
    )
    device: str | None = option(
        None, parsers.text, "NAME", "On each host of a cluster: source addresses are those of this device."
    )
    host_base_ip: tuple[tuple[str, str], ...] = repeatable(
        HOST_BASE_IP, "HOST=ADDRESS", "The first source address on one host of a cluster. Repeatable."
    )

    @property
    def is_asked(self) -> bool:
        """Whether other machines open the connections."""
        return self.scheduler is not None or bool(self.hosts)

    @property
    def local(self) -> int | None:
        """How many workers are started on this machine; None: the cluster is another one."""
        found = _LOCAL.fullmatch(self.scheduler or "")
        return None if found is None else int(found[1])

    @property
    def address(self) -> str | None:
        """The address of a scheduler that is there; None: the run starts one."""
        return None if self.local is not None else self.scheduler

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with them."""
        if self.scheduler is not None and self.hosts:
            yield "--cluster and --hosts both say which machines open the connections: leave one of them out."
        if not self.is_asked and (self.device is not None or self.host_base_ip):
            yield "--device and --host-base-ip are for hosts of a cluster: name it with --cluster or --hosts."
        if self.device is not None and self.host_base_ip:
            yield "--device and --host-base-ip both say where connections come from: leave one of them out."
