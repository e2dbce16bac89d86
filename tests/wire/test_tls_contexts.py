"""wire.tls.contexts and certificates: files that can't be used are named, and what is made for a run is in memory."""

import os
import ssl
import subprocess
from pathlib import Path

import pytest

from floodtest.flyweight.errors import UsageError
from floodtest.wire.tls.certificates import NAME, certificate_for_now
from floodtest.wire.tls.contexts import client_context, server_context
from floodtest.wire.tls.settings import ClientTls, ServerTls
from tests.rigs.tls import write_certificate


def test_a_certificate_for_now_is_good_for_both_ends_and_gone_with_the_block() -> None:
    with certificate_for_now() as files:
        client = client_context(ClientTls(NAME, cafile=files.cert))
        server_context(ServerTls(*files))
        shown = subprocess.run(
            ["openssl", "x509", "-in", files.cert, "-noout", "-text"], capture_output=True, text=True, check=True
        ).stdout
        assert f"DNS:{NAME}" in shown
        assert "prime256v1" in shown
        assert os.readlink(files.key).startswith("/memfd:")
        assert client.verify_mode == ssl.CERT_REQUIRED
    assert not os.path.exists(files.cert)
    assert not os.path.exists(files.key)


def test_only_insecure_takes_any_certificate() -> None:
    assert client_context(ClientTls(NAME)).check_hostname
    assert not client_context(ClientTls(NAME, insecure=True)).check_hostname


def test_a_version_is_the_only_one() -> None:
    context = client_context(ClientTls(NAME, version="1.2"))
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_2


def test_what_can_not_be_used_is_named(tmp_path: Path) -> None:
    cert, key = map(str, write_certificate(tmp_path))
    _, another = map(str, write_certificate(tmp_path, stem="another"))
    empty = tmp_path / "empty"
    empty.write_text("")
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", key, "-out", str(locked), "-passout", "pass:secret"], check=True
    )
    missing = str(tmp_path / "missing")
    der = tmp_path / "cert.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(Path(cert).read_text()))
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    for settings, words in (
        (ClientTls(NAME, cafile=missing), f"--cafile {missing} can't be read: No such file or directory."),
        (ClientTls(NAME, cafile=str(empty)), f"--cafile {empty} has no certificate in PEM."),
        (ClientTls(NAME, cafile=str(broken)), f"--cafile {broken} can't be used: "),
        (ClientTls(NAME, cert=cert), f"--cert {cert} has no private key in PEM: name the file that has it with --key."),
        (ClientTls(NAME, cert=key, key=cert), f"--cert {key} has no certificate in PEM."),
        (ClientTls(NAME, cert=str(der), key=key), f"--cert {der} has no certificate in PEM."),
        (ClientTls(NAME, cert=cert, key=cert), f"--key {cert} has no private key in PEM."),
        (ClientTls(NAME, cert=cert, key=missing), f"--key {missing} can't be read: No such file or directory."),
        (ClientTls(NAME, cert=cert, key=str(tmp_path)), f"--key {tmp_path} can't be read: Is a directory."),
        (ClientTls(NAME, cert=cert, key=another), f"--key {another} has another key than that of the certificate in"),
        (ClientTls(NAME, cert=str(broken), key=key), f"--cert {broken} and --key {key} can't be used: "),
        (ClientTls(NAME, cert=cert, key=str(locked)), f"--key {locked} can't be used: its key has a password"),
    ):
        with pytest.raises(UsageError) as caught:
            client_context(settings)
        assert str(caught.value).startswith(words)
        assert "secret" not in str(caught.value)
        assert "_ssl.c" not in str(caught.value)
    with pytest.raises(UsageError, match=r"--tls-cert .* can't be read"):
        server_context(ServerTls(missing))
