"""The wheel builds from this checkout and holds every module of the packages it installs, and what they read."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_has_every_module(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("floodtest-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    for package in ("flyweight", "wire", "loadgen", "analysis", "datagen", "server_under_test"):
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert modules <= inside
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "analysis/pages/templates").iterdir()}
    assert {Path(name).suffix for name in templates} == {".html", ".css"}
    assert templates <= inside
    assert not any(name.startswith("tests/") for name in inside)
