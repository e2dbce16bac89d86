"""An nginx of a test's own, configured by the test."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rigs.support import OUR_NETWORK, wait_until

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

needs_nginx = pytest.mark.skipif(NGINX is None, reason="there is no nginx here: apt-get install nginx-light")
needs_nchan = pytest.mark.skipif(
    NGINX is None or not NCHAN.exists(), reason="there is no nchan here: apt-get install libnginx-mod-nchan"
)


@contextmanager
def nginx(
    folder: Path, locations: str, modules: str = "", connections: int = 100, plain_port: int | None = None
) -> Iterator[tuple[str, int]]:
    """An nginx with these locations and nothing else set; gives its address.

    It listens on an address of this process of tests, where its port is free; with a `plain_port` there without TLS,
    and with TLS, for which the locations name a certificate, at the port of the address that is given.
    """
    host, port = f"{OUR_NETWORK}.200", 8080
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    listens = f"listen {host}:{port};"
    if plain_port is not None:
        listens = f"listen {host}:{port} ssl; listen {host}:{plain_port};"
    (folder / "nginx.conf").write_text(
        f"{modules}\npid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; daemon off;\n"
        f"events {{ worker_connections {connections}; }}\n"
        f"http {{ access_log off; {' '.join(f'{name}_temp_path {folder}/{name};' for name in paths)}\n"
        f"  server {{ {listens} {locations} }} }}\n"
    )
    errors = folder / "error.log"
    with subprocess.Popen(
        [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(errors)]
    ) as server:
        try:
            wait_until(lambda: server.poll() is not None or _accepts(host, port), "nginx accepts")
            assert server.poll() is None, errors.read_text()
            yield host, port
        finally:
            server.terminate()


def _accepts(host: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((host, port)) == 0
