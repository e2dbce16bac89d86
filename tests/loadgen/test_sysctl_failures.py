"""loadgen.preflight.sysctls where it is killed, refused by the kernel, or out of room: nothing is lost, nothing is
hidden.
"""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from floodtest.flyweight.errors import Refused
from floodtest.loadgen.preflight import sysctls as doctor
from floodtest.loadgen.preflight.sysctls import FILE, Change, apply, revert
from tests.rigs.doctor import MILLION, short_machine, wanted
from tests.rigs.host import FakeMachine


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return short_machine(tmp_path / "machine")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


KILLED = """
import os, signal, sys
from pathlib import Path
from floodtest.loadgen.preflight import sysctls as doctor
from floodtest.loadgen.preflight.sysctls import Change

step, proc, state, what = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
changes = [Change(*words.split("|")) for words in sys.argv[5:]]
steps = 0

def kill(event, arguments):
    global steps
    if event in ("open", "os.rename", "os.remove", "os.mkdir"):
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
doctor.apply(changes, state, proc) if what == "apply" else doctor.revert(state, proc)
"""


def killed_at(step: int, fake: FakeMachine, state: Path, what: str, *found: Change) -> bool:
    """Apply or revert in a process that kills itself before its nth touch of a file; return whether it got so far."""
    arguments = [f"{change.key}|{change.old}|{change.new}" for change in found]
    done = subprocess.run([sys.executable, "-P", "-c", KILLED, str(step), str(fake.proc), str(state), what, *arguments])
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


def test_killed_at_any_step_of_apply_revert_mends_it(fake: FakeMachine, state: Path) -> None:
    before = {key: text.split() for key, text in fake.settings().items()}
    found, step = wanted(fake), 1
    while killed_at(step, fake, state, "apply", *found):
        revert(state, fake.proc)
        assert {key: text.split() for key, text in fake.settings().items()} == before, f"killed at step {step}"
        assert not (state / FILE).exists()
        step += 1
    assert step > 8  # the file of old values and four sysctls, each of them opened


def test_killed_at_any_step_of_revert_another_one_mends_it(fake: FakeMachine, state: Path) -> None:
    before = {key: text.split() for key, text in fake.settings().items()}
    found, step, killed = wanted(fake), 1, True
    while killed:
        apply(found, state, fake.proc)
        killed = killed_at(step, fake, state, "revert")
        revert(state, fake.proc)
        assert {key: text.split() for key, text in fake.settings().items()} == before, f"killed at step {step}"
        step += 1
    assert step > 8


def test_a_sysctl_that_cannot_be_set_leaves_everything_as_it_was(
    fake: FakeMachine, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write = fake.settings(), doctor._write

    def stubborn(proc: Path, key: str, text: str) -> None:
        if key == "net/ipv4/tcp_mem":
            raise OSError(22, "Invalid argument")
        write(proc, key, text)

    monkeypatch.setattr(doctor, "_write", stubborn)
    with pytest.raises(Refused, match=r"net\.ipv4\.tcp_mem can't be set to 1000 2000 1054000: Invalid argument"):
        apply(wanted(fake), state, fake.proc)
    assert fake.settings() == before
    assert not (state / FILE).exists()


STUCK = "net/core/somaxconn"


def failing_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one sysctl be set once, and the next one never."""
    write = doctor._write

    def stubborn(proc: Path, key: str, text: str) -> None:
        if key == "net/ipv4/tcp_mem" or (key, text) == (STUCK, "128"):
            raise OSError(22, "Invalid argument")
        write(proc, key, text)

    monkeypatch.setattr(doctor, "_write", stubborn)


def test_what_cannot_be_undone_is_named_and_kept(
    fake: FakeMachine, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = wanted(fake)
    with monkeypatch.context() as patch:
        failing_rollback(patch)
        with pytest.raises(Refused, match=r"put back: net\.core\.somaxconn \(was 128, is 1024\)\. Their") as caught:
            apply(found, state, fake.proc)
    assert "Nothing was changed" not in str(caught.value)
    assert fake.get("fs/epoll/max_user_watches") == "400000"
    (late,) = revert(state, fake.proc)
    assert (late.put_back, fake.get(STUCK)) == (True, "128")


def test_undone_is_to_what_was_there_when_it_began(
    fake: FakeMachine, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = wanted(fake)
    fake.set(STUCK, "777")
    failing_rollback(monkeypatch)
    with pytest.raises(Refused, match="Nothing was changed"):
        apply(found, state, fake.proc)
    assert fake.get(STUCK) == "777"


def test_an_apply_that_is_undone_leaves_the_one_before_to_revert(
    fake: FakeMachine, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply([change for change in wanted(fake) if change.key == STUCK], state, fake.proc)
    with monkeypatch.context() as patch:
        failing_rollback(patch)
        with pytest.raises(Refused, match="Nothing was changed"):
            apply(wanted(fake, replace(MILLION, in_flight=9000)), state, fake.proc)
    assert fake.get(STUCK) == "1024"
    (late,) = revert(state, fake.proc)
    assert (late.put_back, fake.get(STUCK)) == (True, "128")


def test_a_full_disk_does_not_hide_what_was_done(
    fake: FakeMachine, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*names: object, **folders: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(Refused, match=r"No space left on device\. Nothing was changed"):
            apply(wanted(fake), state, fake.proc)
    apply(wanted(fake), state, fake.proc)
    monkeypatch.setattr(os, "unlink", full)
    with pytest.raises(Refused, match=r"No space left on device\. What could be put back has been;"):
        revert(state, fake.proc)
    assert fake.get(STUCK) == "128"


def test_two_at_once_take_turns(fake: FakeMachine, state: Path) -> None:
    before = {key: text.split() for key, text in fake.settings().items()}
    found = wanted(fake)
    threads = [threading.Thread(target=apply, args=(found, state, fake.proc)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    revert(state, fake.proc)
    assert {key: text.split() for key, text in fake.settings().items()} == before


@pytest.mark.parametrize(
    ("user", "remedy"), [(0, "read-only here, for root as well.*--sysctl"), (1000, "sudo floodtest")]
)
def test_what_cannot_be_written_is_told_with_what_helps(
    fake: FakeMachine, state: Path, monkeypatch: pytest.MonkeyPatch, user: int, remedy: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != fake.proc / "sys/net/core/somaxconn")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with pytest.raises(Refused, match=f"somaxconn .*{remedy}"):
        apply(wanted(fake), state, fake.proc)
    assert not state.exists()


def test_only_what_is_to_be_put_back_must_be_writable(
    fake: FakeMachine, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(wanted(fake), state, fake.proc)
    fake.set("net/core/somaxconn", "128")
    monkeypatch.setattr(os, "access", lambda path, mode: path != fake.proc / "sys/net/core/somaxconn")
    assert len(revert(state, fake.proc)) == 4
    assert not (state / FILE).exists()
    apply([change for change in wanted(fake) if change.key != STUCK], state, fake.proc)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(Refused, match=r"read-only here|takes root"):
        revert(state, fake.proc)
    assert fake.get("net/netfilter/nf_conntrack_max") == "1054036"
