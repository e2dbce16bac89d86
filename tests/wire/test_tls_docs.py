"""docs/tls.md has the bounds, the causes and the tests that there are."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from floodtest.wire.causes import Cause
from floodtest.wire.tls import handshaking, key_columns, tls_layer, tls_records
from floodtest.wire.tls.key_columns import KeyColumns
from floodtest.wire.tls.settings import ClientTls, ServerTls
from tests.rigs.tls import client_end, server_end, shake

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/tls.md").read_text()


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_bounds_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ", section("What peers may send"), re.MULTILINE)
    bounds = {name: int(value.replace(",", "")) for name, value in rows}
    modules = handshaking, key_columns, tls_layer, tls_records
    there = {name: getattr(module, name) for module in modules for name in vars(module) if name in bounds}
    assert bounds == there
    assert {name for module in modules for name in vars(module) if name.startswith("MOST")} <= {*bounds, "MOST_LOGGED"}


def test_bytes_of_a_connection_are_those_of_the_columns() -> None:
    columns = KeyColumns(10)
    sides = columns._read, columns._write
    arrays = [array for side in sides for array in (side.keys, side.ivs, side.secrets, side.numbers)]
    size = sum(array.nbytes for array in (*arrays, columns._suites, columns._idle)) // 10
    assert f"connection of TLS 1.3 is {size} bytes in columns" in TEXT.replace("\n", " ")


def test_every_cause_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", section("Why a connection ends"), re.MULTILINE)
    causes = [cause.name.lower() for cause in Cause if cause.name.startswith("TLS_") and cause != Cause.TLS_PORT]
    assert sorted(rows) == sorted(causes)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here: apt-get install openssl")
def test_the_certificate_that_is_made_is_one_that_clients_trust(tmp_path: Path) -> None:
    (line,) = re.findall(r"^    (openssl req .*\n.*-out cert\.pem)$", section("Server"), re.MULTILINE)
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, capture_output=True)
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    for name in ("localhost", "127.0.0.1"):
        client, server = client_end(ClientTls(name, cafile=cert)), server_end(ServerTls(cert, key))
        shake(client, server, [7])
        assert client.secured == [7]


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", section("What was verified"))
    assert len(named) > 10
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
