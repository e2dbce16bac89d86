"""`floodtest run` over TLS: our own server, with a certificate of the run, and nginx with nchan, of TLS 1.3 and 1.2."""

import json
import re
from pathlib import Path

import pytest

from tests.rigs.nginx import NCHAN, needs_nchan, nginx
from tests.rigs.openssl import Program, needs_openssl
from tests.rigs.support import flood, run_here
from tests.rigs.tls import write_certificate

COUNT = 60


@pytest.mark.parametrize(("protocol", "model"), [("websocket", "columns"), ("sse", "tasks")])
def test_our_own_server(protocol: str, model: str, tmp_path: Path) -> None:
    code, summary, errors = flood(
        *(tmp_path, "--tls", "--protocol", protocol, "--server-model", model, "--connections", str(COUNT)),
        *("--tick", "0.5s", "--hold", "1s", "--messages", "50/s", "--message-seconds", "1"),
        *(("--tls-resume", "50%") if model == "tasks" else ()),
    )
    assert (code, summary["outcome"], summary["connections"]["opened"]) == (0, "ok", COUNT), errors
    assert (summary["messages"]["lost"], summary["missing"], summary["repeated"]) == (0, 0, 0)
    assert [tick["received"] for tick in summary["ticks"]][:1] == [COUNT]
    tls = summary["tls"]
    assert (tls["handshakes"], tls["is_verified"], tls["kept"]) == (COUNT, True, 0)
    assert set(tls["ciphers"]) == {"TLS_AES_256_GCM_SHA384"}
    assert tls["cpu_seconds"] > 0
    served = summary["server_tls"]
    assert (served["handshakes"], served["kept"], served["late"], served["ends"]) == (COUNT, 0, 0, {})
    assert (served["cpu_seconds"] is not None and served["cpu_seconds"] > 0) is (model == "columns")
    assert (tls["tickets"] > 0) == (model == "tasks")  # without them no session could be taken up
    assert 0 < summary["timing"]["tls_ms"]["p50"] <= summary["timing"]["open_ms"]["max"]
    (record,) = tmp_path.iterdir()
    written = b"".join(path.read_bytes() for path in record.iterdir())
    assert b"PRIVATE KEY" not in written
    assert b"TRAFFIC_SECRET" not in written


LOCATIONS = """
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols {version};
    location ~ ^/sub/(\\d+)$ {{ nchan_subscriber; nchan_channel_id $1; }}
    location ~ ^/pub/(\\d+)$ {{ nchan_publisher; nchan_channel_id $1; }}
"""


@needs_nchan
@pytest.mark.parametrize(
    ("version", "protocol", "client", "api"),
    [
        ("TLSv1.3", "websocket", "columns", "https://{host}:{port}"),
        ("TLSv1.2", "sse", "columns", "https://{host}:{port}"),
        ("TLSv1.3", "sse", "httpx", "http://{host}:8081"),
    ],
)
def test_messages_of_nginx_come_over_tls(version: str, protocol: str, client: str, api: str, tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    locations = LOCATIONS.format(cert=cert, key=key, version=version)
    scheme = "wss" if protocol == "websocket" else "https"
    with nginx(tmp_path, locations, f"load_module {NCHAN};", connections=500, plain_port=8081) as (host, port):
        given = ("--target", f"{scheme}://{host}:{port}/sub/{{user}}", "--server-name", "server.test")
        code, summary, errors = flood(
            *(tmp_path / "runs", "--connections", str(COUNT), "--hold", "0", "--client", client, *given),
            *("--cafile", str(cert), "--messages", "50/s", "--message-seconds", "1"),
            *("--protocol", protocol, "--publish", f"POST {api.format(host=host, port=port)}/pub/{{user}}"),
        )
        assert (code, summary["outcome"]) == (0, "ok"), errors
        assert (summary["messages"]["received"], summary["messages"]["lost"]) == (50, 0)
        kept = COUNT if version == "TLSv1.2" else 0
        assert (summary["tls"]["handshakes"], summary["tls"]["kept"]) == (COUNT, kept)
        done = run_here("floodtest", "probe", *given, "--cafile", str(cert))
        assert (done.returncode, f"tls        {version}, " in done.stdout) == (0, True), done.stdout
        assert "certificate of CN=server.test, signed by CN=server.test, valid until 20" in done.stdout
        done = run_here("floodtest", "probe", *given)
        assert (done.returncode, "not open   tls_unknown_issuer@tls: " in done.stdout) == (4, True), done.stdout
        if version == "TLSv1.3":
            code, summary, errors = flood(
                *(tmp_path / "plain", "--target", f"http://{host}:{port}/sub/{{user}}", "--connections", "3"),
                *("--client", "columns"),
            )
            assert (code, summary["connections"]["failed"]) == (4, {"tls_port@response": 3}), errors
            assert "https:// or wss://" in summary["causes"][0]["remedy"]


@needs_openssl
def test_a_server_that_ends_who_speaks_no_tls_without_a_word_is_said_to_speak_it_perhaps(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    program = Program("s_server", "-accept", "127.0.0.1:0", "-cert", str(cert), "-key", str(key))
    try:
        while not (told := re.search(rb"ACCEPT 127.0.0.1:(\d+)", program.said)):
            assert program.hear(), program.said
        done = run_here("floodtest", "probe", "--target", f"ws://127.0.0.1:{int(told[1])}/ws/{{user}}")
    finally:
        program.stop()
    assert re.search(r"not open   (no_answer|ECONNRESET)@response: ", done.stdout), done.stdout
    assert "https:// or wss://" in " ".join(done.stdout.split())


def test_a_certificate_that_can_not_be_read_is_said_before_anything_begins(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    done = run_here("floodtest", "run", "--target", "https://127.0.0.1:9/", "--cafile", str(missing))
    assert done.returncode == 2
    assert done.stderr.endswith(f"\nfloodtest: --cafile {missing} can't be read: No such file or directory.\n")
    done = run_here("floodtest", "plan", "--tls", "--connections", "100", "--json")
    assert json.loads(done.stdout)["prediction"]["handshake_us"][0] > 0
