"""loadgen.preflight.sysctls: sysctls are changed as the table asks, and put back whatever happened in between."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from floodtest.flyweight.errors import Refused
from floodtest.loadgen.preflight.sysctls import FILE, Change, apply, as_sysctl_conf, revert
from tests.rigs.doctor import MILLION, short_machine, wanted
from tests.rigs.host import FakeMachine


@pytest.fixture
def fake(tmp_path: Path) -> FakeMachine:
    return short_machine(tmp_path / "machine")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_each_sysctl_that_falls_short_is_changed_as_far_as_needed(fake: FakeMachine) -> None:
    found = {change.key: (change.old, change.new) for change in wanted(fake)}
    assert found == {
        "fs/epoll/max_user_watches": ("400000", "2109000"),
        "net/core/somaxconn": ("128", "1024"),
        "net/ipv4/tcp_mem": ("1000 2000 3000", "1000 2000 1054000"),
        "net/netfilter/nf_conntrack_max": ("65536", "1054036"),
    }


def test_after_apply_nothing_is_left_to_change(fake: FakeMachine, state: Path) -> None:
    apply(wanted(fake), state, fake.proc)
    assert wanted(fake) == []


def test_revert_puts_everything_back_and_forgets(fake: FakeMachine, state: Path) -> None:
    before = {key: text.split() for key, text in fake.settings().items()}
    apply(wanted(fake), state, fake.proc)
    assert before != {key: text.split() for key, text in fake.settings().items()}
    done = revert(state, fake.proc)
    assert {key: text.split() for key, text in fake.settings().items()} == before
    assert len(done) == 4
    assert all(each.put_back for each in done)
    assert list(state.iterdir()) == []
    assert revert(state, fake.proc) == []


def test_there_is_nothing_to_revert_before_an_apply(fake: FakeMachine, state: Path) -> None:
    assert revert(state, fake.proc) == []
    apply([], state, fake.proc)
    assert not state.exists()


def test_of_what_was_changed_twice_the_first_value_comes_back(fake: FakeMachine, state: Path) -> None:
    apply(wanted(fake), state, fake.proc)
    apply(wanted(fake, replace(MILLION, in_flight=9000)), state, fake.proc)
    assert fake.get("net/core/somaxconn") == "9000"
    revert(state, fake.proc)
    assert fake.get("net/core/somaxconn") == "128"
    assert fake.get("net/ipv4/tcp_max_syn_backlog") == "2048"


def test_what_somebody_has_changed_since_stays(fake: FakeMachine, state: Path) -> None:
    apply(wanted(fake), state, fake.proc)
    fake.set("net/core/somaxconn", "777")
    (left,) = [each for each in revert(state, fake.proc) if not each.put_back]
    assert fake.get("net/core/somaxconn") == "777"
    assert "somebody has set it to 777 since" in left.in_words()


def test_an_old_value_that_was_not_put_back_is_kept(fake: FakeMachine, state: Path) -> None:
    apply(wanted(fake), state, fake.proc)
    fake.set("net/core/somaxconn", "777")
    revert(state, fake.proc)
    fake.set("net/core/somaxconn", "1024")
    (late,) = revert(state, fake.proc)
    assert (late.put_back, fake.get("net/core/somaxconn")) == (True, "128")
    assert not (state / FILE).exists()


def test_what_somebody_has_set_between_two_applies_comes_back(fake: FakeMachine, state: Path) -> None:
    apply(wanted(fake), state, fake.proc)
    fake.set("net/core/somaxconn", "777")
    apply(wanted(fake), state, fake.proc)
    revert(state, fake.proc)
    assert fake.get("net/core/somaxconn") == "777"


def in_network(fake: FakeMachine, name: str) -> None:
    """Be in a network namespace of this name: an inode of its own."""
    link, place = fake.proc / "self/ns/net", fake.proc / f"networks/{name}"
    fake.write(f"proc/networks/{name}", name)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(place)


def boot(fake: FakeMachine, name: str) -> None:
    fake.write("proc/sys/kernel/random/boot_id", f"{name}\n")


def test_sysctls_of_another_network_are_left_to_it(fake: FakeMachine, state: Path) -> None:
    boot(fake, "one")
    in_network(fake, "first")
    apply(wanted(fake), state, fake.proc)
    in_network(fake, "second")
    left = [each for each in revert(state, fake.proc) if not each.put_back]
    assert {each.name.partition(".")[0] for each in left} == {"net"}
    assert "another network namespace" in left[0].in_words()
    assert fake.get("net/core/somaxconn") == "1024"
    assert fake.get("fs/epoll/max_user_watches") == "400000"  # of all networks
    in_network(fake, "first")
    assert all(each.put_back for each in revert(state, fake.proc))
    assert fake.get("net/core/somaxconn") == "128"


def forged(state: Path, key: str, old: str = "7") -> None:
    state.mkdir()
    text = json.dumps({"format": 1, "sysctls": [{"key": key, "old": old, "ours": ["1024"]}]})
    (state / FILE).write_text(text)


@pytest.mark.parametrize("key", ["../../victim", "/etc/passwd", "kernel/core_pattern", ""])
def test_only_sysctls_of_the_table_are_taken_from_a_file(
    fake: FakeMachine, state: Path, tmp_path: Path, key: str
) -> None:
    fake.write("victim", "1024")
    forged(state, key)
    with pytest.raises(Refused, match="is not ours"):
        revert(state, fake.proc)
    assert (tmp_path / "machine/victim").read_text() == "1024"


def test_an_old_value_is_numbers(fake: FakeMachine, state: Path) -> None:
    forged(state, "net/core/somaxconn", "|/bin/sh")
    with pytest.raises(Refused, match="is not ours"):
        revert(state, fake.proc)


def test_a_negative_value_comes_back(fake: FakeMachine, state: Path) -> None:
    """Linux takes one here (proc_dointvec has no bounds)."""
    fake.set("net/ipv4/tcp_max_syn_backlog", "-1")
    apply(wanted(fake), state, fake.proc)
    assert fake.get("net/ipv4/tcp_max_syn_backlog") == "1024"
    apply(wanted(fake, replace(MILLION, in_flight=9000)), state, fake.proc)
    revert(state, fake.proc)
    assert fake.get("net/ipv4/tcp_max_syn_backlog") == "-1"


@pytest.mark.parametrize("change", [Change("kernel/panic", "0", "1"), Change("net/core/somaxconn", "128", "1024")])
def test_what_could_not_be_put_back_is_not_changed(fake: FakeMachine, state: Path, change: Change) -> None:
    fake.set("kernel/panic", "0")
    fake.set("net/core/somaxconn", "a word")
    before = fake.settings()
    with pytest.raises(Refused, match="could not be put back"):
        apply([change], state, fake.proc)
    assert fake.settings() == before
    assert revert(state, fake.proc) == []


@pytest.mark.parametrize("name", ["", FILE])
def test_what_others_can_write_is_not_trusted(fake: FakeMachine, state: Path, name: str) -> None:
    forged(state, "net/core/somaxconn")
    (state / name).chmod(0o777)
    for call in (lambda: revert(state, fake.proc), lambda: apply(wanted(fake), state, fake.proc)):
        with pytest.raises(Refused, match="not trusted"):
            call()
    assert fake.get("net/core/somaxconn") == "128"


def test_what_belongs_to_others_is_not_trusted(fake: FakeMachine, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forged(state, "net/core/somaxconn")
    monkeypatch.setattr(os, "geteuid", lambda: state.stat().st_uid + 1)
    with pytest.raises(Refused, match="belongs to another user"):
        revert(state, fake.proc)


def test_no_link_is_followed(fake: FakeMachine, state: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    state.mkdir()
    (state / f"{FILE}.new").symlink_to(victim)
    apply(wanted(fake), state, fake.proc)
    assert victim.read_text() == "as it was"
    assert not (state / FILE).is_symlink()
    revert(state, fake.proc)
    (state / FILE).symlink_to(victim)
    with pytest.raises(Refused, match="can't be read"):
        revert(state, fake.proc)


def test_the_folder_is_for_its_owner_alone(fake: FakeMachine, state: Path) -> None:
    apply(wanted(fake), state, fake.proc)
    assert (state.stat().st_mode & 0o777, (state / FILE).stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_folder_that_cannot_be_looked_into_is_refused(
    fake: FakeMachine, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", forbidden)
    with pytest.raises(Refused, match=r"can't be looked at: Permission denied"):
        revert(state, fake.proc)


def test_what_was_changed_before_a_reboot_is_forgotten(fake: FakeMachine, state: Path) -> None:
    """Even a value of ours is then somebody else's, such as that of a sysctl.conf."""
    boot(fake, "one")
    in_network(fake, "first")
    apply(wanted(fake), state, fake.proc)
    boot(fake, "two")
    in_network(fake, "second")
    after = fake.settings()
    done = revert(state, fake.proc)
    assert fake.settings() == after
    assert fake.get("fs/epoll/max_user_watches") == "2109000"
    assert {each.in_words().partition(": ")[2] for each in done} == {"a reboot has put it back, and it stays as it is"}
    assert [each.rebooted for each in done] == [True] * 4
    assert not (state / FILE).exists()


def test_an_apply_after_a_reboot_puts_back_what_is_there_then(fake: FakeMachine, state: Path) -> None:
    boot(fake, "one")
    apply(wanted(fake), state, fake.proc)
    boot(fake, "two")
    apply(wanted(fake, replace(MILLION, in_flight=9000)), state, fake.proc)
    revert(state, fake.proc)
    assert fake.get("net/core/somaxconn") == "1024"
    assert not (state / FILE).exists()


def test_where_no_boot_is_known_values_of_ours_are_put_back(fake: FakeMachine, state: Path) -> None:
    boot(fake, "one")
    in_network(fake, "first")
    apply(wanted(fake), state, fake.proc)
    (fake.proc / "sys/kernel/random/boot_id").unlink()
    assert all(each.put_back for each in revert(state, fake.proc))


def test_what_is_as_it_was_stays(fake: FakeMachine, state: Path) -> None:
    before = fake.settings()
    apply(wanted(fake), state, fake.proc)
    for key, text in before.items():
        fake.set(key, text.strip())
    assert not any(each.put_back for each in revert(state, fake.proc))
    assert fake.settings() == before


def test_what_is_gone_since_is_passed_over(fake: FakeMachine, state: Path) -> None:
    apply(wanted(fake), state, fake.proc)
    (fake.proc / "sys/net/netfilter/nf_conntrack_max").unlink()
    (gone,) = [each for each in revert(state, fake.proc) if not each.put_back]
    assert gone.in_words() == "net.netfilter.nf_conntrack_max: there is no such sysctl any more"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\\x00", '{"format": 1, "sysctls": [{"key": 1}]}'])
def test_a_state_that_is_not_ours_is_refused_and_kept(fake: FakeMachine, state: Path, text: str) -> None:
    state.mkdir()
    (state / FILE).write_text(text)
    with pytest.raises(Refused, match="can't be read"):
        apply(wanted(fake), state, fake.proc)
    with pytest.raises(Refused, match="can't be read"):
        revert(state, fake.proc)
    assert (state / FILE).read_text() == text


@pytest.mark.parametrize("sysctls", ["[]", '{"a": 1}'])
def test_a_newer_state_is_refused_whatever_its_shape(fake: FakeMachine, state: Path, sysctls: str) -> None:
    state.mkdir()
    (state / FILE).write_text(f'{{"format": 2, "sysctls": {sysctls}}}')
    with pytest.raises(Refused, match="newer floodtest"):
        revert(state, fake.proc)


def test_sysctl_conf_has_a_line_a_change_and_says_why(fake: FakeMachine) -> None:
    text = as_sysctl_conf(wanted(fake))
    settings = [line for line in text.splitlines() if not line.startswith("#")]
    assert settings == [
        "fs.epoll.max_user_watches = 2109000",
        "net.core.somaxconn = 1024",
        "net.ipv4.tcp_mem = 1000 2000 1054000",
        "net.netfilter.nf_conntrack_max = 1054036",
    ]
    assert text.startswith("# was 400000: each end of a connection is watched by an epoll")
