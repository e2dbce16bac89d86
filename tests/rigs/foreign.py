"""Servers of streams that nobody here wrote, and proxies, each configured and started as its users do.

`SERVERS` and `PROXIES` say what each is, what it needs, and where its streams are: for tests, and for the table of
`benchmarks/foreign.py`.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.rigs.nginx import NCHAN
from tests.rigs.serving import PATH, free_port, serving
from tests.rigs.support import OUR_NETWORK

ROOT = Path(__file__).parents[2]

Address = tuple[str, int]


@dataclass(frozen=True)
class Served:
    """A server that is there: its address, and the process of which the others are children."""

    host: str
    port: int
    pid: int
    publishes_at: str = ""
    """Where it is told of messages."""

    @property
    def at(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Gateway:
    """A program by which a server that speaks no HTTP is told of messages."""

    line: Sequence[str]
    """What starts it, with {config} where the file goes that says where it listens and what is behind it."""
    config: str

    @contextmanager
    def started(self, folder: Path, behind: int) -> Iterator[str]:
        """Start it before a server at a port of 127.0.0.1; give its own host and port."""
        port, config = free_port(), folder / "gateway.config"
        config.write_text(self.config.replace("{port}", str(port)).replace("{behind}", str(behind)))
        line = [word.replace("{config}", str(config)) for word in self.line]
        with serving(line, "127.0.0.1", port, folder, folder / "gateway.log"):
            yield f"127.0.0.1:{port}"


@dataclass(frozen=True)
class Server:
    """A server with streams for each user by some protocols, and a path that publishes to them."""

    line: Sequence[str]
    """What starts it, with {port} where its port of 127.0.0.1 goes, and {folder} for a folder with its `config`."""
    streams: Mapping[str, str]
    """The path of each protocol."""
    publish: str
    """Method and path."""
    cwd: Path = ROOT
    modules: tuple[str, ...] = ()
    """Of Python, that it needs."""
    files: tuple[Path, ...] = ()
    """What else has to be there."""
    config: str = ""
    gateway: Gateway | None = None
    wants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What runs by some of the protocols have to be told besides."""

    @property
    def missing(self) -> str | None:
        """Say what is missing, None if nothing is."""
        for name in self.modules:
            if find_spec(name) is None:
                return f"there is no module {name} here: it is in requirements-dev.lock"
        for file in self.files:
            if not file.exists():
                return f"there is no {file} here: .ci/run has what makes it"
        programs = [self.line[0]] if self.gateway is None else [self.line[0], self.gateway.line[0]]
        return next(filter(None, map(missing_program, programs)), None)

    def options(self, served: "Served", protocol: str) -> tuple[str, ...]:
        """Return the options of a run that asks for a protocol, and publishes if messages are asked for."""
        scheme = {"websocket": "ws", "raw": "tcp"}.get(protocol, "http")
        target = ("--target", f"{scheme}://{served.at}{self.streams[protocol]}")
        return (*target, *self.wants.get(protocol, ()), *self.publishing(served))

    def publishing(self, served: "Served") -> tuple[str, str]:
        """Return the option that says how it is told of messages."""
        method, path = self.publish.split()
        return "--publish", f"{method} http://{served.publishes_at}{path}"

    @contextmanager
    def started(self, folder: Path) -> Iterator[Served]:
        """Start it at a free port; what it writes goes into the folder."""
        port = free_port()
        (folder / "config").write_text(self.config.replace("{port}", str(port)))
        line = [word.replace("{port}", str(port)).replace("{folder}", str(folder)) for word in self.line]
        with (
            serving(line, "127.0.0.1", port, self.cwd, folder / "server.log") as pid,
            nullcontext(f"127.0.0.1:{port}") if self.gateway is None else self.gateway.started(folder, port) as told,
        ):
            yield Served("127.0.0.1", port, pid, told)


def missing_program(name: str) -> str | None:
    """Say that a program is missing; None if it is there."""
    return None if shutil.which(name, path=PATH) else f"there is no {name} here: .ci/run installs it"


NGINX = ("nginx", "-p", "{folder}", "-c", "{folder}/config", "-e", "stderr")

NCHAN_CONFIG = f"""
load_module {NCHAN};
pid nginx.pid;
daemon off;
worker_processes 1;
events {{ worker_connections 15000; }}
http {{
    access_log off;
    client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    server {{
        listen 127.0.0.1:{{port}} backlog=2048;
        location ~ ^/sub/(\\d+)$ {{ nchan_subscriber; nchan_channel_id $1; }}
        location ~ ^/chunked/(\\d+)$ {{ nchan_subscriber http-chunked; nchan_channel_id $1; }}
        location ~ ^/raw/(\\d+)$ {{ nchan_subscriber http-raw-stream; nchan_channel_id $1; }}
        location ~ ^/multipart/(\\d+)$ {{ nchan_subscriber multipart; nchan_channel_id $1; }}
        location ~ ^/poll/(\\d+)$ {{ nchan_subscriber longpoll; nchan_channel_id $1; }}
        location ~ ^/pub/(\\d+)$ {{ nchan_publisher; nchan_channel_id $1; }}
    }}
}}
""".replace("\\\\", "\\")

WEBDIS_CONFIG = (
    json.dumps(
        {
            "redis_host": "127.0.0.1",
            "redis_port": "{behind}",
            "http_host": "127.0.0.1",
            "http_port": "{port}",
            "threads": 1,
            "pool_size": 4,
            "daemonize": False,
            "verbosity": 0,
            "logfile": "/dev/stderr",
        }
    )
    .replace('"{behind}"', "{behind}")
    .replace('"{port}"', "{port}")
)

SERVICE = {"sse": "/events/{user}", "websocket": "/live/{user}"}
"""Paths of both examples."""

STARLETTE, EXPRESS = ROOT / "examples/starlette", ROOT / "examples/express"

SERVERS = {
    "starlette on uvicorn": Server(
        ("uvicorn", "service:app", "--port", "{port}", "--log-level", "warning"),
        SERVICE,
        "POST /publish/{user}",
        STARLETTE,
        ("sse_starlette",),
    ),
    "starlette on hypercorn": Server(
        ("hypercorn", "service:app", "--bind", "127.0.0.1:{port}", "--backlog", "2048"),
        SERVICE,
        "POST /publish/{user}",
        STARLETTE,
        ("sse_starlette",),
    ),
    "express and ws": Server(
        ("node", "service.js", "{port}"), SERVICE, "POST /publish/{user}", EXPRESS, files=(EXPRESS / "node_modules",)
    ),
    "node http": Server(
        ("node", str(Path(__file__).with_name("node_chunks.mjs")), "{port}"),
        {"chunked": "/stream/{user}"},
        "POST /publish/{user}",
    ),
    "nginx with nchan": Server(
        NGINX,
        {
            "sse": "/sub/{user}",
            "websocket": "/sub/{user}",
            "chunked": "/chunked/{user}",
            "lines": "/raw/{user}",
            "longpoll": "/poll/{user}",
        },
        "POST /pub/{user}",
        files=(NCHAN,),
        config=NCHAN_CONFIG,
        # Without TE it serves no chunks.
        wants={"chunked": ("--header", "TE: chunked"), "longpoll": ("--protocol", "longpoll", "--held", "100ms")},
    ),
    "redis": Server(
        (
            *("redis-server", "--bind", "127.0.0.1", "--port", "{port}", "--dir", "{folder}", "--save", ""),
            *("--protected-mode", "no", "--tcp-backlog", "2048", "--maxclients", "15000"),
        ),
        {"raw": ""},
        "GET /PUBLISH/user:{user}/{message}",
        gateway=Gateway(("webdis", "{config}"), WEBDIS_CONFIG),
        wants={"raw": ("--send", "SUBSCRIBE user:{user}\\r\\n", "--open-when", "text:user:{user}")},
    ),
}

Configured = Callable[[Address, int, int, Path | None], str]
"""A configuration for an address to listen at, the port of 127.0.0.1 that is behind, seconds of patience with streams
on which nothing goes, and for TLS a file in PEM with certificate and key."""


def _haproxy(at: Address, behind: int, patience: int, pem: Path | None) -> str:
    """Without http-no-delay it waits 200 ms for more before it sends a chunk on."""
    return f"""
defaults
    mode http
    option http-no-delay
    timeout connect 10s
    timeout client {patience}s
    timeout server {patience}s
    timeout tunnel {patience}s
listen streams
    bind {at[0]}:{at[1]} {"" if pem is None else f"ssl crt {pem}"}
    server comet 127.0.0.1:{behind}
"""


def _caddy(at: Address, behind: int, patience: int, pem: Path | None) -> str:
    return f"""
{{
    admin off
    grace_period 100ms
    auto_https off
}}
{"http" if pem is None else "https"}://:{at[1]} {{
    {"" if pem is None else f"tls {pem} {pem}"}
    bind {at[0]}
    reverse_proxy 127.0.0.1:{behind}
}}
"""


def _nginx(at: Address, behind: int, patience: int, pem: Path | None) -> str:
    """With room to spare: where a sixteenth of its connections is free it closes those that have not asked yet.

    TLS 1.3 has to be named: nginx has it by default from 1.23.4 on only.
    """
    return f"""
pid nginx.pid;
daemon off;
worker_processes 1;
events {{ worker_connections 24000; }}
http {{
    access_log off;
    client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    server {{
        listen {at[0]}:{at[1]} {"" if pem is None else "ssl"} backlog=2048 reuseport;
        {"" if pem is None else f"ssl_certificate {pem}; ssl_certificate_key {pem}; ssl_protocols TLSv1.2 TLSv1.3;"}
        proxy_read_timeout {patience}s;
        location / {{ proxy_pass http://127.0.0.1:{behind}; }}
        location /ws/ {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}
}}
"""


def _hitch(at: Address, behind: int, patience: int, pem: Path | None) -> str:
    """It speaks TLS only, has no patience to set, and does not work as root."""
    return f"""
frontend = {{ host = "{at[0]}" port = "{at[1]}" }}
backend = "[127.0.0.1]:{behind}"
pem-file = "{pem}"
backlog = 2048
{'user = "nobody"' if os.geteuid() == 0 else ""}
"""


def _stunnel(at: Address, behind: int, patience: int, pem: Path | None) -> str:
    """It speaks TLS only, and has a thread for each connection."""
    return f"""
foreground = yes
debug = err
pid =
[streams]
accept = {at[0]}:{at[1]}
connect = 127.0.0.1:{behind}
cert = {pem}
TIMEOUTidle = {patience}
"""


@dataclass(frozen=True)
class Proxy:
    """A proxy, and how it is told what to do."""

    line: Sequence[str]
    """What starts it, with {folder} for a folder with its `config`."""
    configured: Configured

    @property
    def missing(self) -> str | None:
        """Say what is missing, None if nothing is."""
        return missing_program(self.line[0])

    @contextmanager
    def started(
        self, folder: Path, at: Address, behind: int, patience: int = 3600, pem: Path | None = None
    ) -> Iterator[Served]:
        """Start it at an address, before a server at a port of 127.0.0.1; what it writes goes into a new folder."""
        folder.mkdir()
        (folder / "config").write_text(self.configured(at, behind, patience, pem))
        line = [word.replace("{folder}", str(folder)) for word in self.line]
        with serving(line, *at, folder, folder / "proxy.log") as pid:
            yield Served(*at, pid)


PROXIES = {
    "nginx": Proxy(NGINX, _nginx),
    "haproxy": Proxy(("haproxy", "-db", "-f", "{folder}/config"), _haproxy),
    "caddy": Proxy(("caddy", "run", "--config", "{folder}/config", "--adapter", "caddyfile"), _caddy),
}

TLS_PROXIES = {
    **PROXIES,
    "hitch": Proxy(("hitch", "--config", "{folder}/config"), _hitch),
    "stunnel": Proxy(("stunnel", "{folder}/config"), _stunnel),
}
"""Those that end TLS."""


def address(number: int) -> Address:
    """Return an address of this process of tests, and a port that is free there."""
    return f"{OUR_NETWORK}.{200 + number}", 8080
