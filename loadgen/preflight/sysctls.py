"""The doctor: changes the sysctls that a planned run needs, and puts them back.

What is changed, and from what, is on disk before the first sysctl is written: one file, replaced as a whole. So
wherever `apply` is killed, `revert` finds every change that may have been made. It touches only what still has a value
of ours: what was never changed, and what somebody has changed since stay as they are. No change outlives a reboot, so
what was changed before one is forgotten, whatever is there now. A value that could not be put back (somebody else's is
there; it is of another network namespace) is kept.

The file says what root writes, so only sysctls of the table are taken from it, and only from a folder and a file that
nobody else can write.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.files import PROC
from floodtest.flyweight.machine.reasons import reason
from floodtest.flyweight.machine.whole_file import replace_file
from floodtest.loadgen.preflight.checks import CHECKS
from floodtest.loadgen.preflight.verdicts import Setting, Verdict

FILE = "sysctls.json"
FORMAT = 1

_KEYS = frozenset(check.setting.key for check in CHECKS if check.setting is not None)
_NUMBERS = re.compile(r"-?[0-9]+( -?[0-9]+)*")
"""Linux takes a negative number in some sysctls of the table (tcp_max_syn_backlog)."""

_WRITABLE_FOR_OTHERS = 0o022


@dataclass(frozen=True)
class Change:
    """A sysctl, by its path below /proc/sys, and what it becomes of what it is."""

    key: str
    old: str
    new: str
    reason: str = ""

    @property
    def name(self) -> str:
        return Setting(self.key).name


class _Kept(msgspec.Struct, frozen=True):
    """What a sysctl was before us, and every value that we may have set."""

    key: str
    old: str
    ours: tuple[str, ...]
    boot: str | None = None
    """The boot that it was changed in, and of a sysctl below net/ the network namespace (its inode)."""
    network: int | None = None

    def is_of_an_earlier_boot(self, here: "_Here") -> bool:
        return None not in (self.boot, here.boot) and self.boot != here.boot

    def is_here(self, here: "_Here") -> bool:
        """Return whether the sysctl of that name here may be the same one."""
        return here.network is None or self.network in (None, here.network)

    def is_of_the_table(self) -> bool:
        """Return whether it is what is taken from a file: a sysctl of the table, and numbers to set it to."""
        return self.key in _KEYS and _NUMBERS.fullmatch(self.old) is not None


@dataclass(frozen=True)
class _Here:
    """Where this process is; None: /proc does not say."""

    boot: str | None
    network: int | None

    def kept(self, key: str, old: str, ours: tuple[str, ...]) -> _Kept:
        return _Kept(key, old, ours, self.boot, self.network if key.startswith("net/") else None)


class _Format(msgspec.Struct, frozen=True):
    format: int


class _State(_Format, frozen=True):
    sysctls: list[_Kept]


def changes(verdicts: Sequence[Verdict], proc: Path = PROC) -> list[Change]:
    """Return the sysctls to change so that each check with one is fulfilled; a sysctl of several numbers once."""
    found: dict[str, Change] = {}
    for verdict in verdicts:
        setting = verdict.check.setting
        if verdict.ok or setting is None:
            continue
        before = found.get(setting.key)
        text = _read(proc, setting.key) if before is None else before.new
        if text is not None:
            old, reason = (text, verdict.check.reason) if before is None else (before.old, before.reason)
            found[setting.key] = Change(setting.key, old, _changed(text, setting.field, verdict), reason)
    return list(found.values())


def _changed(text: str, field: int, verdict: Verdict) -> str:
    """Return a sysctl's numbers with the one changed that a check is about."""
    numbers = [int(word) for word in text.split()]
    assert isinstance(verdict.needed, int)
    assert isinstance(verdict.value, int)
    # A check may be of what is left of a table: then the table grows by what is missing.
    missing = verdict.needed - verdict.value
    numbers[field] = verdict.needed if verdict.check.relation == "<=" else numbers[field] + missing
    return " ".join(map(str, numbers))


def as_sysctl_conf(wanted: Sequence[Change]) -> str:
    """Write changes as a file of sysctl.conf(5)."""
    return "".join(f"# was {change.old}: {change.reason}\n{change.name} = {change.new}\n" for change in wanted)


def apply(wanted: Sequence[Change], folder: Path, proc: Path = PROC) -> None:
    """Make the changes, after writing down what was; Refused where one can't be made, and those before it undone."""
    if not wanted:
        return
    _refuse_what_is_not_ours_to_write([proc / "sys" / change.key for change in wanted])
    with _locked(folder, make=True) as place:
        before, here = _load(folder, place), _here(proc)
        wanted = [replace(change, old=_read(proc, change.key) or change.old) for change in wanted]
        _save(folder, place, _merged(before, wanted, here), "Nothing was changed.")
        done: list[Change] = []
        try:
            for change in wanted:
                done.append(change)
                _write(proc, change.key, change.new)
        except OSError as error:
            stuck = _undo(done, proc)
            refusal = f"{done[-1].name} can't be set to {done[-1].new}: {error.strerror}. {_what_is_left(stuck)}"
            _save(folder, place, _merged(before, stuck, here), refusal)
            raise Refused(f"{refusal} In a container, set it on the host: floodtest doctor --sysctl.") from error


def _undo(done: Sequence[Change], proc: Path) -> list[Change]:
    """Take changes back, the last one first; return those of which something is left, as they are now."""
    stuck = []
    for change in reversed(done):
        with suppress(OSError):
            _write(proc, change.key, change.old)
        now = _read(proc, change.key)
        if now != change.old:
            stuck.append(replace(change, new=now or change.new))
    return stuck[::-1]


def _what_is_left(stuck: Sequence[Change]) -> str:
    if not stuck:
        return "Nothing was changed."
    named = ", ".join(f"{change.name} (was {change.old}, is {change.new})" for change in stuck)
    return f"These could not be put back: {named}. Their old values are kept for floodtest doctor --revert."


@dataclass(frozen=True)
class Reverted:
    """What became of a sysctl: put back from `found` to `old`, or left at what was found, and why."""

    name: str
    old: str
    found: str | None
    put_back: bool
    elsewhere: bool = False
    """Whether it is of another network namespace."""
    rebooted: bool = False
    """Whether it was changed before a reboot."""

    @property
    def is_done(self) -> bool:
        """Whether nothing of ours is left of it, so that the old value can be forgotten."""
        return self.put_back or self.rebooted or (self.found == self.old and not self.elsewhere)

    def in_words(self) -> str:
        if self.rebooted:
            return f"{self.name}: a reboot has put it back, and it stays as it is"
        if self.put_back:
            return f"{self.name}: {self.found} is {self.old} again"
        if self.elsewhere:
            return f"{self.name}: was changed in another network namespace; revert there (it was {self.old})"
        if self.found is None:
            return f"{self.name}: there is no such sysctl any more"
        if self.found == self.old:
            return f"{self.name}: is {self.old} already"
        return f"{self.name}: somebody has set it to {self.found} since, and it stays so (it was {self.old})"


def revert(folder: Path, proc: Path = PROC) -> list[Reverted]:
    """Put back what was changed, and forget that; Refused where a sysctl can't be written."""
    if not _is_there(folder / FILE):
        return []
    with _locked(folder) as place:
        kept = _load(folder, place)
        here = _here(proc)
        paths = [proc / "sys" / each.key for each in kept if _is_ours(each, _read(proc, each.key), here)]
        _refuse_what_is_not_ours_to_write([folder, *paths])
        done = [(each, _put_back(each, proc, here)) for each in reversed(kept)]
        left = [each for each, what in reversed(done) if not what.is_done]
        _save(folder, place, left, "What could be put back has been; reverting again does no harm.")
    return [what for _, what in done]


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Refused(f"{path} can't be looked at: {error.strerror}. Reverting takes whoever applied: sudo.") from error
    return True


def _here(proc: Path) -> _Here:
    boot = network = None
    with suppress(OSError):  # without the boot the inode means nothing: another boot may have the same
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        network = (proc / "self/ns/net").stat().st_ino
    return _Here(boot, network)


def _is_ours(each: _Kept, found: str | None, here: _Here) -> bool:
    """Return whether a sysctl still has a value of ours, so that its old one is to be put back."""
    return not each.is_of_an_earlier_boot(here) and each.is_here(here) and found != each.old and found in each.ours


def _put_back(each: _Kept, proc: Path, here: _Here) -> Reverted:
    found, name = _read(proc, each.key), Setting(each.key).name
    if each.is_of_an_earlier_boot(here):
        return Reverted(name, each.old, found, put_back=False, rebooted=True)
    if not each.is_here(here):
        return Reverted(name, each.old, found, put_back=False, elsewhere=True)
    ours = _is_ours(each, found, here)
    if ours:
        try:
            _write(proc, each.key, each.old)
        except OSError as error:
            raise Refused(
                f"{name} can't be set back to {each.old}: {error.strerror}. What is left to revert is kept."
            ) from error
    return Reverted(name, each.old, found, ours)


def _merged(before: list[_Kept], wanted: Sequence[Change], here: _Here) -> list[_Kept]:
    """Return what to keep: the value before our first change, but where somebody has set another one since, that."""
    before = [each for each in before if not each.is_of_an_earlier_boot(here)]
    kept = [each for each in before if not each.is_here(here)]
    known = {each.key: each for each in before if each.is_here(here)}
    for change in wanted:
        found = known.get(change.key)
        if found is None or change.old not in (found.old, *found.ours):
            found = here.kept(change.key, change.old, ())
        ours = found.ours if change.new in found.ours else (*found.ours, change.new)
        known[change.key] = here.kept(change.key, found.old, ours)
    return [*kept, *known.values()]


def _refuse_what_is_not_ours_to_write(paths: Sequence[Path]) -> None:
    for path in paths:
        if os.access(path, os.W_OK):
            continue
        if os.geteuid() == 0:
            raise Refused(
                f"{path} is read-only here, for root as well, as it is in most containers. Change sysctls on the host: "
                "floodtest doctor --sysctl prints them."
            )
        raise Refused(
            f"{path} can't be written. Changing sysctls takes root: sudo floodtest doctor, with the same options; "
            "or let floodtest doctor --sysctl print them for whoever has it."
        )


@contextmanager
def _locked(folder: Path, make: bool = False) -> Iterator[int]:
    """Keep others out of the folder while the block lasts; the kernel lets go of the lock with the process."""
    try:
        if make:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise Refused(
            f"The folder {folder} for old values can't be made or opened: {error.strerror}. Name one: --state."
        ) from error
    try:
        _refuse_what_others_can_write(descriptor, folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_what_others_can_write(descriptor: int, path: Path) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or found.st_mode & _WRITABLE_FOR_OTHERS:
        raise Refused(
            f"{path} belongs to another user (uid {found.st_uid}) or can be written by others (mode "
            f"{found.st_mode & 0o7777:o}), so it is not trusted. Be who has it (sudo), or name another --state."
        )


def _load(folder: Path, place: int) -> list[_Kept]:
    path = folder / FILE
    try:
        descriptor = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
        with open(descriptor, "rb") as file:
            _refuse_what_others_can_write(descriptor, path)
            text = file.read()
        found = msgspec.json.decode(text, type=_Format).format  # alone: a newer one may have another shape
        if found > FORMAT:
            raise Refused(f"{path} is of a newer floodtest (format {found}); use that one to revert.")
        state = msgspec.json.decode(text, type=_State)
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        raise Refused(
            f"The old values in {path} can't be read: {error}. Look at it, and remove it if it is not ours."
        ) from error
    for each in state.sysctls:
        if not each.is_of_the_table():
            raise Refused(
                f"{path} is not ours: floodtest never sets {each.key!r} to {each.old!r}. Nothing was changed."
            )
    return state.sysctls


def _save(folder: Path, place: int, kept: list[_Kept], otherwise: str) -> None:
    """Replace the file as a whole, on disk when this returns; without anything to keep there is none.

    `otherwise` ends what is said where that can't be: how things stand then.
    """
    for each in kept:
        if not each.is_of_the_table():
            raise Refused(f"{Setting(each.key).name} is {each.old!r}, which could not be put back. {otherwise}")
    new = f"{FILE}.new"
    try:
        if kept:
            text = msgspec.json.format(msgspec.json.encode(_State(FORMAT, kept)), indent=1)
            replace_file(FILE, text, temporary=new, mode=0o600, durable=True, dir_fd=place)
        else:
            _unlink(new, place)  # of one that was killed
            _unlink(FILE, place)
            os.fsync(place)
    except OSError as error:
        raise Refused(f"The old values can't be written to {folder / FILE}: {reason(error)}. {otherwise}") from error


def _unlink(name: str, place: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=place)


def _read(proc: Path, key: str) -> str | None:
    try:
        return " ".join((proc / "sys" / key).read_text().split())
    except OSError:
        return None


def _write(proc: Path, key: str, text: str) -> None:
    """Set a sysctl; OSError when the kernel takes it, and keeps something else."""
    (proc / "sys" / key).write_text(f"{text}\n")
    if _read(proc, key) != text:
        raise OSError(0, f"the kernel keeps {_read(proc, key)}")
