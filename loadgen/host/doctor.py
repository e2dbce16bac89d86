"""The doctor: changes the sysctls that a planned run needs, and puts them back.

What is changed, and from what, is on disk before the first sysctl is written: one file, replaced as a whole. So
wherever `apply` is killed, `revert` finds every change that may have been made. It touches only what still has a value
of ours: what was never changed, what a reboot has put back, and what somebody has changed since stay as they are.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from flyweight.errors import Refused
from flyweight.limits import PROC
from loadgen.host.checks import Setting, Verdict

STATE = Path("/var/lib/floodtest")
"""Where old values are kept (Filesystem Hierarchy Standard 3.0, 5.8: it outlives a reboot, unlike /run)."""

FILE = "sysctls.json"
FORMAT = 1


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


class _State(msgspec.Struct, frozen=True):
    format: int
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


def apply(wanted: Sequence[Change], folder: Path = STATE, proc: Path = PROC) -> None:
    """Make the changes, after writing down what was; Refused, with nothing changed, where that can't be."""
    if not wanted:
        return
    _refuse_what_is_not_ours_to_write([proc / "sys" / change.key for change in wanted])
    with _locked(folder):
        before = _load(folder)
        _save(folder, _merged(before, wanted))
        done: list[Change] = []
        try:
            for change in wanted:
                done.append(change)
                _write(proc, change.key, change.new)
        except OSError as error:
            for change in reversed(done):
                _try_to_write(proc, change.key, change.old)
            _save(folder, before)
            raise Refused(
                f"{done[-1].name} can't be set to {done[-1].new}: {error.strerror}. Nothing was changed. In a "
                "container, set it on the host: floodtest doctor --sysctl."
            ) from error


@dataclass(frozen=True)
class Reverted:
    """What became of a sysctl: put back from `found` to `old`, or left at what was found, and why."""

    name: str
    old: str
    found: str | None
    put_back: bool

    def in_words(self) -> str:
        if self.put_back:
            return f"{self.name}: {self.found} is {self.old} again"
        if self.found is None:
            return f"{self.name}: there is no such sysctl any more"
        if self.found == self.old:
            return f"{self.name}: is {self.old} already"
        return f"{self.name}: somebody has set it to {self.found} since, and it stays so (it was {self.old})"


def revert(folder: Path = STATE, proc: Path = PROC) -> list[Reverted]:
    """Put back what was changed, and forget it; Refused where a sysctl can't be written."""
    if not (folder / FILE).exists():
        return []
    kept = _load(folder)
    _refuse_what_is_not_ours_to_write([folder, *(path for each in kept if (path := proc / "sys" / each.key).exists())])
    with _locked(folder):
        done = [_put_back(each, proc) for each in reversed(_load(folder))]
        _save(folder, [])
    return done


def _put_back(each: _Kept, proc: Path) -> Reverted:
    found, name = _read(proc, each.key), Setting(each.key).name
    ours = found != each.old and found in each.ours
    if ours:
        try:
            _write(proc, each.key, each.old)
        except OSError as error:
            raise Refused(
                f"{name} can't be set back to {each.old}: {error.strerror}. What is left to revert is kept."
            ) from error
    return Reverted(name, each.old, found, ours)


def _merged(before: list[_Kept], wanted: Sequence[Change]) -> list[_Kept]:
    """Return what to keep: of what was changed twice, the value before the first change."""
    kept = {each.key: each for each in before}
    for change in wanted:
        known = kept.get(change.key, _Kept(change.key, change.old, ()))
        ours = known.ours if change.new in known.ours else (*known.ours, change.new)
        kept[change.key] = _Kept(change.key, known.old, ours)
    return list(kept.values())


def _refuse_what_is_not_ours_to_write(paths: Sequence[Path]) -> None:
    for path in paths:
        if not os.access(path, os.W_OK):
            raise Refused(
                f"{path} can't be written. Changing sysctls takes root: sudo floodtest doctor, with the same options; "
                "or let floodtest doctor --sysctl print them for whoever has it."
            )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others out of the folder while the block lasts; the kernel lets go of the lock with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Refused(
            f"The folder {folder} for old values can't be made: {error.strerror}. Name one: --state."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _load(folder: Path) -> list[_Kept]:
    path = folder / FILE
    try:
        state = msgspec.json.decode(path.read_bytes(), type=_State)
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        raise Refused(
            f"The old values in {path} can't be read: {error}. Look at it, and remove it if it is not ours."
        ) from error
    if state.format > FORMAT:
        raise Refused(f"{path} is of a newer floodtest (format {state.format}); use that one to revert.")
    return state.sysctls


def _save(folder: Path, kept: list[_Kept]) -> None:
    """Replace the file as a whole, on disk when this returns; without anything to keep there is none."""
    path, new = folder / FILE, folder / f"{FILE}.new"
    try:
        if kept:
            with new.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(_State(FORMAT, kept)), indent=1))
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        else:
            path.unlink(missing_ok=True)
            new.unlink(missing_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Refused(f"The old values can't be written to {path}: {error.strerror}. Nothing was changed.") from error


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


def _try_to_write(proc: Path, key: str, text: str) -> None:
    with suppress(OSError):  # what can't be put back could not be changed either
        _write(proc, key, text)
