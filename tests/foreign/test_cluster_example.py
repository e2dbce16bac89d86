"""`examples/cluster`: a host's part of a run, by its script, and the steps of its image as far as they go here."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from floodtest.analysis import hosts_of, load
from tests.rigs.foreign import ROOT
from tests.rigs.support import OUR_NETWORK, comet, run_here

EXAMPLE = ROOT / "examples/cluster"

BIN = Path(sys.executable).parent


def part(folder: Path, **given: str) -> "subprocess.CompletedProcess[str]":
    """Run a host's part."""
    variables = {"PATH": f"{BIN}:{os.environ['PATH']}", **given}
    line = [str(EXAMPLE / "part.sh"), "--hold", "0.2"]
    return subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, timeout=120)


def test_parts_of_two_hosts_are_one_run(tmp_path: Path) -> None:
    if not (BIN / "floodtest").exists():
        pytest.skip("floodtest is not installed as a command")
    with comet("--max-users", "1000") as server:
        for number, index in enumerate(("INDEX", "JOB_COMPLETION_INDEX")):
            about = {index: str(number), "TARGET": f"http://127.0.0.1:{server.port}/test/{{user}}"}
            done = part(tmp_path, **about, CONNECTIONS="50", HOST_IP=f"{OUR_NETWORK}.{number + 1}")
            assert done.returncode == 0, done.stderr
    merged = run_here("floodtest", "merge", "part-0-1", "part-1-1", "--out", ".", "--name", "whole", cwd=tmp_path)
    assert (merged.returncode, merged.stdout) == (0, "whole\n")
    whole = load(tmp_path / "whole")
    assert whole.summary is not None
    assert (whole.summary.connections.opened, whole.summary.outcome) == (100, "ok")
    users = [(host.name, host.record.part("options")["plan"]["first_user"]) for host in hosts_of(whole) if host.record]
    assert users == [("part-0-1", 1), ("part-1-1", 51)]


@pytest.mark.parametrize("missing", ["TARGET", "CONNECTIONS", "INDEX"])
def test_what_is_missing_is_named(missing: str, tmp_path: Path) -> None:
    given = {"TARGET": "http://127.0.0.1:1/{user}", "CONNECTIONS": "5", "INDEX": "0", "HOST_IP": "127.0.0.1"}
    del given[missing]
    done = part(tmp_path, **given)
    assert done.returncode != 0
    assert f"{missing} is missing: " in done.stderr


def test_the_image_installs_what_the_checkout_has() -> None:
    """The steps of pip are gone through without installing: all that is pinned is here, and floodtest can be built."""
    steps = re.findall(r"^RUN (python -m pip install .*)$", (EXAMPLE / "Containerfile").read_text(), re.MULTILINE)
    assert len(steps) == 2
    variables = {**os.environ, "PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1", "PIP_QUIET": "1"}
    for step in steps:
        program, *words = shlex.split(step.replace("/src", str(ROOT)))
        assert program == "python"
        done = subprocess.run([sys.executable, *words], env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", ["compose.yaml", "job.yaml"])
def test_a_manifest_gives_parts_what_their_script_asks_for(file: str) -> None:
    text = (EXAMPLE / file).read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", (EXAMPLE / "part.sh").read_text()))
    assert asked == {"TARGET", "CONNECTIONS", "INDEX"}
    for name in asked - ({"INDEX"} if file == "job.yaml" else set()):
        assert re.search(rf"\b{name}\b", text), name


def test_the_job_is_indexed_and_tries_no_part_again() -> None:
    text = (EXAMPLE / "job.yaml").read_text()
    for line in ("completionMode: Indexed", "backoffLimit: 0", "restartPolicy: Never"):
        assert f"  {line}\n" in text
    (completions,), (parallelism,) = (re.findall(rf"{name}: (\d+)", text) for name in ("completions", "parallelism"))
    assert completions == parallelism
