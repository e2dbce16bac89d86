"""The wheel builds from this checkout, holds every module of the rooms, and occupies one name only."""

import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROOMS = ("flyweight", "wire", "loadgen", "analysis", "datagen", "server_under_test")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = folder.glob("floodtest-*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture
def metadata(wheel: zipfile.ZipFile) -> Message:
    """Read what a package index is told."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_the_wheel_has_every_module_and_one_name(wheel: zipfile.ZipFile) -> None:
    inside = set(wheel.namelist())
    for room in ROOMS:
        modules = {f"floodtest/{path.relative_to(ROOT)}" for path in (ROOT / room).rglob("*.py")}
        assert modules <= inside
    assert {name.partition("/")[0] for name in inside if ".dist-info/" not in name} == {"floodtest"}
    assert "floodtest/py.typed" in inside


def test_a_package_index_is_told_what_it_is(metadata: Message) -> None:
    assert (metadata["Name"], metadata["License-Expression"]) == ("floodtest", "MIT")
    assert {"load testing", "comet"} <= set(metadata["Keywords"].split(","))
    classifiers = metadata.get_all("Classifier") or []
    assert {"Operating System :: POSIX :: Linux", "Typing :: Typed", "Framework :: Trio"} <= set(classifiers)


def test_no_link_of_the_description_leads_nowhere(metadata: Message) -> None:
    """On the page of an index there are no other files: a link is to an address, or there is none."""
    description = str(metadata.get_payload())
    assert description.startswith("# floodtest")
    links = re.findall(r"\]\(([^)\s]+)", description) + re.findall(r"^\[[^\]]+\]:\s*(\S+)", description, re.MULTILINE)
    assert not [link for link in links if not link.startswith("https://")]
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_each_file_that_the_description_names_is_there(metadata: Message) -> None:
    named = re.findall(r"`((?:docs/)?[\w-]+\.md)`", str(metadata.get_payload()))
    assert len(named) > 5
    assert not [name for name in named if not (ROOT / name).exists()]
