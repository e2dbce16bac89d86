"""`comet ring`: for a person, and as the driver that an Erlang port of 2008 spoke to."""

import subprocess
from pathlib import Path

import pytest

from tests.rigs.support import command, run_here
from tests.wire.ketama.make import FOLDER, LISTS, keys

SERVERS = str(FOLDER / "eight-unequal.servers")
NAMES = [name for name, _ in LISTS["eight-unequal"]]
OWNERS = (FOLDER / "eight-unequal.owners").read_bytes()


def packet(text: bytes) -> bytes:
    """Return what a port opened with {packet, 1} sends."""
    return bytes([len(text)]) + text


def driven(data: bytes, servers: str = SERVERS) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command("comet", "ring", servers, "--driver"), input=data, capture_output=True, timeout=60)


def test_the_server_of_each_key_is_told() -> None:
    done = run_here("comet", "ring", SERVERS, "1", "photo:1", "2")
    expected = [("1", OWNERS[0]), ("photo:1", OWNERS[16_000]), ("2", OWNERS[1])]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(f"{key}\t{NAMES[owner]}\n" for key, owner in expected)


def test_without_a_key_the_servers_are_shown_with_their_shares() -> None:
    done = run_here("comet", "ring", SERVERS)
    head, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert (done.returncode, head) == (0, ["server", "memory", "points", "keys"])
    assert [(name, int(memory)) for name, memory, _, _ in rows] == LISTS["eight-unequal"]
    for index, (_, _, _, share) in enumerate(rows):
        assert float(share.removesuffix("%")) / 100 == pytest.approx(OWNERS.count(index) / len(OWNERS), abs=0.01)


def test_the_driver_answers_as_that_of_2008_did() -> None:
    """Each key behind a byte with its length, and so each answer."""
    asked = [key.encode() for key in keys()]
    done = driven(b"".join(map(packet, asked)))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"".join(packet(NAMES[owner].encode()) for owner in OWNERS)


def test_the_driver_answers_each_key_before_the_next_one_is_asked() -> None:
    line = command("comet", "ring", SERVERS, "--driver")
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, piece in ((0, [b"\x011"]), (1, [b"\x01", b"2"]), (16_000, [b"\x07pho", b"to:1"])):
            for part in piece:
                process.stdin.write(part)
            expected = packet(NAMES[OWNERS[number]].encode())
            assert process.stdout.read(len(expected)) == expected
        process.stdin.close()
        assert process.wait(30) == 0


def test_keys_of_any_bytes_and_of_none_have_a_server() -> None:
    done = driven(packet(b"") + packet(bytes(range(255))) + packet(b"x" * 255), "a,b")
    assert (done.returncode, len(done.stdout)) == (0, 6)


def test_an_end_within_a_key_is_told() -> None:
    done = driven(packet(b"1") + b"\x03ab")
    assert (done.returncode, done.stdout) == (3, packet(NAMES[OWNERS[0]].encode()))
    assert done.stderr == b"comet: Standard input ended within a key: 2 of 3 bytes.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing", "7"], 3, "There is no file nothing."),
        (["a,a", "7"], 2, "The server a is named 2 times: name it once."),
        (["a,b", "7", "--driver"], 2, "--driver reads keys from standard input"),
        ([f"{'n' * 256},b", "--driver"], 2, "--driver answers with names of 255 bytes at the most, not of 256."),
    ],
)
def test_what_makes_no_sense_is_told(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    done = run_here("comet", "ring", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
