"""The wheel builds from this checkout, holds every module of the rooms, and occupies one name only."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

ROOMS = ("flyweight", "wire", "loadgen", "analysis", "datagen", "server_under_test")


def test_the_wheel_has_every_module_and_one_name(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("floodtest-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    for room in ROOMS:
        modules = {f"floodtest/{path.relative_to(ROOT)}" for path in (ROOT / room).rglob("*.py")}
        assert modules <= inside
    assert {name.partition("/")[0] for name in inside if ".dist-info/" not in name} == {"floodtest"}
    assert "floodtest/py.typed" in inside
