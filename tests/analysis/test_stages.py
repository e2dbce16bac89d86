"""The stages of a run: their names are those of format 1, and nobody spells one but the table."""

import json
import re
from pathlib import Path

from floodtest.analysis import RecordWriter, load
from floodtest.analysis.record.stages import OPENING, Stage
from tests.rigs.figures import sample

ROOT = Path(__file__).parents[2]


def test_the_names_of_format_1() -> None:
    assert list(Stage) == ["start", "ramp", "hold", "messages", "close"]
    described = (ROOT / "docs/run-record.md").read_text()
    assert all(f"`{stage}`" in described for stage in Stage)


def test_a_stage_is_written_as_its_name_and_read_as_plain_text(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path, "one")
    writer.write_run({"stages": [{"name": stage} for stage in Stage]})
    for stage in Stage:
        writer.write_sample(sample(stage=stage))
    writer.close()
    record = load(writer.folder)
    assert [row.stage for row in record.samples] == list(Stage)
    assert {type(row.stage) for row in record.samples} == {str}
    assert [stage["name"] for stage in json.loads((writer.folder / "run.json").read_text())["stages"]] == list(Stage)
    assert record.columns()["stage"].tolist() == list(Stage)


def test_a_name_that_is_not_in_the_table_is_no_member_of_a_set() -> None:
    assert "ramp" in OPENING
    assert "storm" not in OPENING


def test_no_stage_is_spelled_but_in_the_table() -> None:
    names = "|".join(Stage)
    spelled = re.compile(rf"""(stage\s*(==|!=|(not )?in)\s*\(?|enter\(|in_stage\(\w+, )["']({names})["']""")
    assert spelled.search('if sample.stage == "hold"')
    for package in ("analysis", "loadgen"):
        for path in (ROOT / package).rglob("*.py"):
            assert not spelled.search(path.read_text()), path
