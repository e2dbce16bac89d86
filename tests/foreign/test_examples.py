"""The services of `examples/`, started and run against as its README says, but for ports and numbers of connections."""

import re
import shlex
from pathlib import Path

import pytest

from tests.foreign.test_servers import SHORT, all_is_accounted_for, its_process_was_measured, prepared
from tests.rigs.foreign import ROOT
from tests.rigs.support import flood

README = (ROOT / "examples/README.md").read_text()
SERVERS = {"starlette": "starlette on uvicorn", "express": "express and ws"}
PORT = "8080"


def commands_of(name: str) -> list[list[str]]:
    """Return the commands of a section of the README."""
    section = README.split(f"\n## {name}\n")[1].split("\n## ")[0]
    text = "\n".join(re.findall(r"^ {4}(.*)", section, re.MULTILINE)).replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", SERVERS)
def test_every_message_to_an_example_arrives(name: str, tmp_path: Path) -> None:
    server = prepared(SERVERS[name])
    _, start, *runs = commands_of(name)
    assert start == [word.replace("{port}", PORT) for word in server.line]
    assert server.cwd == ROOT / "examples" / name
    assert [next(word for word in run if "{user}" in word).split(":")[0] for run in runs] == ["http", "ws"]
    with server.started(tmp_path) as served:
        for program, command, *options in runs:
            assert (program, command) == ("floodtest", "run")
            given = [word.replace(f"127.0.0.1:{PORT}", served.at) for word in options]
            result = flood(tmp_path / "runs", *given, *SHORT)  # the later of an option that is given twice is taken
            all_is_accounted_for(*result)
            its_process_was_measured(result[1], served)


def test_what_the_example_needs_is_pinned_as_the_tests_have_it() -> None:
    locked = set((ROOT / "requirements-dev.lock").read_text().splitlines())
    assert set((ROOT / "examples/starlette/requirements.txt").read_text().split()) <= locked
