"""A run of `floodtest` to which something is done at one instant, and what came of it.

In: a `Plan`, drawn from random numbers. Out: an `Outcome`, with all that can be judged when every process has ended
(`tests.attacks.promises` does). The instant is a stage of the run and a time in it, so that it is about the same one on
a slow machine; the part that is hit has to be there by then, or is waited for.
"""

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from random import Random

from floodtest.datagen.files import write_pairs
from floodtest.datagen.graph import friend_graph
from tests.attacks import parts
from tests.attacks.order import Tally
from tests.rigs.support import OUR_NETWORK, command, run_here

END_SECONDS = 120.0
"""How long a run may go on after what was done to it: many times as long as it takes on a machine of its own."""

INSTANT_SECONDS = 120.0
"""How long its instant is waited for."""

LEFT_SECONDS = 10.0
"""How long its processes may take to end after it."""

_STAGE_SECONDS = {"": 1.0, "start": 1.6, "ramp": 0.5, "hold": 0.7, "messages": 1.8, "close": 0.3}
"""About how long each stage of a run takes, the time before its record ("") among them."""

_SECONDS_OF = {parts.MAKER: 0.02, parts.LOADER: 0.25, parts.READER: 0.25}
"""About how long parts take, at the least, that are there for less than a stage."""

_ALL = ("start", "ramp", "hold", "messages")
_STAGES_OF = {
    parts.FLOODTEST: ("", *_ALL, "close"),
    parts.MAKER: ("",),
    parts.LOADER: ("start",),
    parts.READER: ("start",),
    parts.REMOVER: _ALL,
    parts.GENERATOR: ("messages",),
}
"""In which a part is there; one that is not named in all of them."""

_MESSAGES = ("--messages", "1500/s", "--message-seconds", "1")
_FEW = ("--connections", "400", "--rate", "1500")
_MANY = ("--connections", "2400", "--rate", "6000")

VARIANTS: dict[str, tuple[str, ...]] = {
    "two workers": (*_MANY, *_MESSAGES),
    "one worker": (*_FEW, *_MESSAGES),
    "friends": (*_FEW, *_MESSAGES, "--friends", "{friends}"),
    "store": (*_MANY, *_MESSAGES, "--db", "{store}"),
    "ticks": (*_MANY, "--tick", "100ms"),
    "ticks and messages": (*_FEW, "--tick", "50ms", *_MESSAGES),
    "httpx": ("--connections", "200", "--rate", "400", "--client", "httpx", *_MESSAGES),
    "tasks": (*_FEW, "--server-model", "tasks", *_MESSAGES),
    "host": (*_MANY, "--network", "host", *_MESSAGES),
    "veth": (*_FEW, "--link", "veth", *_MESSAGES),
}
"""The options of the runs. `{friends}` and `{store}` stand for friends of their users, as a file and as a store."""

_VARIANTS_OF = {
    parts.LOADER: ("friends",),
    parts.REMOVER: ("friends",),
    parts.READER: ("store",),
    parts.MAKER: ("one worker", "veth"),
    parts.GENERATOR: tuple(name for name in VARIANTS if name != "ticks"),
}


@dataclass(frozen=True)
class Plan:
    """What is to be done: to which part of which run, in which stage and how many seconds after it began."""

    number: int
    variant: str
    part: str
    stage: str
    delay: float
    index: int
    """Which of several processes of the part, modulo their number."""

    def __str__(self) -> str:
        stage = self.stage or "time before the record"
        return f"{self.number} ({self.variant}: {self.part}, {self.delay:.2f} s into the {stage})"


def draw(random: Random, number: int, part: str, stages: Sequence[str] = ()) -> Plan:
    """Choose a run for a part, and an instant of one of the stages."""
    variant = random.choice(_VARIANTS_OF.get(part, tuple(VARIANTS)))
    has = VARIANTS[variant]
    fitting = [stage for stage in stages or _STAGES_OF.get(part, _ALL) if stage != "messages" or "--messages" in has]
    stage = random.choice(fitting)
    longest = _SECONDS_OF.get(part, _STAGE_SECONDS[stage])
    return Plan(number, variant, part, stage, random.uniform(0, longest), random.randrange(2))


@dataclass
class Outcome:
    """What came of a run."""

    plan: Plan
    pid: int | None = None
    """The process that was hit; None where the run had ended before."""
    stage: str = ""
    """In which that was."""
    seconds: float = 0.0
    """When that was, since the run began."""
    code: int | None = None
    """The run's exit code; None where it did not end."""
    output: str = ""
    errors: str = ""
    out: Path = Path()
    """The folder with its record."""
    temporary: Path = Path()
    """The folder that it had for temporary files."""
    left: list[str] = field(default_factory=list)
    """Processes that had not ended long after it."""


class Ground:
    """What runs of an attack share: friends as a file and as a store, and addresses for several at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.friends, self.store = folder / "friends.txt", folder / "store"
        write_pairs(self.friends, friend_graph(400, 5, seed=1), "edgelist")
        loaded = run_here("comet", "load", str(self.friends), "--db", str(self.store))
        assert loaded.returncode == 0, loaded.stderr
        self._free: SimpleQueue[str] = SimpleQueue()
        for slot in range(AT_A_TIME):
            self._free.put(f"{OUR_NETWORK}.{1 + 20 * slot}")

    @contextmanager
    def address(self) -> Iterator[str]:
        """An address that no other run has now."""
        address = self._free.get()
        try:
            yield address
        finally:
            self._free.put(address)

    def options(self, variant: str, address: str) -> list[str]:
        """Return the options of a run."""
        words = [word.format(friends=self.friends, store=self.store) for word in VARIANTS[variant]]
        addresses = [] if variant == "veth" else ["--base-ip", address]
        return ["run", "--json", "--no-report", "--hold", "0.6", "--interval", "0.5", *addresses, *words]


AT_A_TIME = 2
"""Runs side by side: each waits half of its time."""

SEVERAL = 5
"""Runs in which a part must be found at least once."""

Act = Callable[[Plan, int], None]
"""What is done to the process that is hit."""


def trials(ground: Ground, plans: Sequence[Plan], act: Act) -> Iterator[Outcome]:
    """Make all the runs that are planned; give what came of each, in the order of the plans."""
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        yield from threads.map(lambda plan: trial(ground, plan, act), plans)


def tally_of(outcomes: Iterator[Outcome], verb: str, judged: Callable[[Outcome], Iterator[str]]) -> Tally:
    """Count what was done to the parts of runs, and what came of that; `judged` says what was wrong.

    A part that is looked for in several runs, and found in none, is not known here by the right name: a fault as well.
    """
    tally = Tally()
    planned, hit = Counter[str](), Counter[str]()
    for outcome in outcomes:
        part = outcome.plan.part
        planned[part] += 1
        hit[part] += outcome.pid is not None
        tally.did[f"{verb}s of a {part}" if outcome.pid else f"runs that ended before their {verb}"] += 1
        tally.saw[f"exit {outcome.code}"] += 1
        tally.faults += judged(outcome)
    tally.faults += [
        f"No {part} was found in {count} runs." for part, count in planned.items() if count >= SEVERAL and not hit[part]
    ]
    tally.did = Counter(dict(sorted(tally.did.items())))
    tally.saw = Counter(dict(sorted(tally.saw.items())))
    return tally


def trial(ground: Ground, plan: Plan, act: Act) -> Outcome:
    """Make one run, do something to it, and wait until nothing of it is left."""
    folder = ground.folder / f"run-{plan.number}"
    outcome = Outcome(plan, out=folder / "out", temporary=folder / "tmp")
    outcome.temporary.mkdir(parents=True)
    mark = f"{os.getpid()}-{plan.number}"
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("COMET_")}
    surroundings |= {parts.MARK: mark, "TMPDIR": str(outcome.temporary)}
    with ground.address() as address, open(folder / "stdout", "w+") as output, open(folder / "stderr", "w+") as errors:
        line = command("floodtest", *ground.options(plan.variant, address), "--out", str(outcome.out))
        run = subprocess.Popen(line, stdout=output, stderr=errors, env=surroundings)
        _hit(run, outcome, act)
        try:
            outcome.code = run.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
        outcome.left = _left(mark)
        output.seek(0)
        errors.seek(0)
        outcome.output, outcome.errors = output.read(), errors.read()
    return outcome


def _hit(run: "subprocess.Popen[bytes]", outcome: Outcome, act: Act) -> None:
    """Wait for the instant and do it, unless the run ends before."""
    began, plan = time.monotonic(), outcome.plan
    until = began + INSTANT_SECONDS
    order = tuple(_STAGE_SECONDS)
    due: float | None = None
    while run.poll() is None and time.monotonic() < until:
        stage = stage_of(outcome.out)
        is_late = plan.part == parts.MAKER and stage != ""  # what looks like it now is a fork that is not itself yet
        is_time = order.index(stage) >= order.index(plan.stage) and not is_late
        found = parts.find(run.pid, plan.part) if is_time else []
        if not found:
            due = None  # it is not there yet, was somebody on the way to another program, or has ended
        elif due is None:
            due = time.monotonic() + plan.delay
        elif time.monotonic() >= due:
            outcome.pid = sorted(found)[plan.index % len(found)]
            outcome.stage, outcome.seconds = stage_of(outcome.out), time.monotonic() - began
            act(plan, outcome.pid)
            return
        time.sleep(0.002 if plan.part == parts.MAKER else 0.01)


def stage_of(out: Path) -> str:
    """Return the stage that the only run in a folder is in; nothing before its record is begun."""
    for file in out.glob("*/run.json"):
        stages = json.loads(file.read_text())["stages"]
        return str(stages[-1]["name"]) if stages else ""
    return ""


def _left(mark: str) -> list[str]:
    """Wait until the processes of a run have ended; return those that have not, and end them."""
    until = time.monotonic() + LEFT_SECONDS
    while (pids := parts.marked(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    said = [parts.in_words([pid]) for pid in pids]
    for pid in pids:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
    return said
