"""wire.control: the JSON that a server and its clients have agreed on, key by key, and what is none of it."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from floodtest.wire import control
from floodtest.wire.control import MALFORMED, PUBLICATION_LINE, Generated, Publication, Published, SentTick, Stats
from tests.rigs.figures import generated, stats

DOCS = (Path(__file__).parent.parent.parent / "docs/comet.md").read_text()

STATS: dict[str, Any] = {
    "model": "columns",
    "connections": 1000,
    "logins": 1002,
    "bytes": 152_000,
    "dropped": 0,
    "slow": 1,
    "excess": 0,
    "silent": 0,
    "deliveries": 0,
    "undeliverable": 0,
    "accept_errors": 0,
    "rejected": {"404": 3, "431": 1},
    "violations": {},
    "unanswered": 0,
    "tls": None,
    "control": {"connections": 1, "bytes": 0, "given_up": 0, "rejected": {"400": 2}},
    "pids": {"parent": 10, "nursery": 11, "fronts": [12, 13]},
    "fronts": [None, -9],
    "fronts_begun": 2,
    "fronts_given_up": 0,
    "fronts_left_out": 0,
    "memory": {"private": 20 << 20, "available": 2000 << 20, "total": 4000 << 20},
    "tick_seconds": 2.5,
    "ticking": True,
    "ticks_skipped": 0,
    "messages": 0,
    "routed": 0,
    "subscriptions": {"subjects": 7, "pairs": 70},
    "history": None,
    "ticks": [{"number": 3, "planned": 1.5, "sent": 1000, "first": 1.625, "last": 2.25}],
}
"""As GET /stats has always had it: programs of others read these keys."""

FIGURES = stats(fronts=[None, -9], tick_seconds=2.5, ticking=True, ticks=[SentTick(3, 1.5, 1000, 1.625, 2.25)])


def test_the_figures_of_a_server_have_these_keys() -> None:
    assert json.loads(msgspec.json.encode(FIGURES)) == STATS


def test_figures_are_read_as_they_were_written() -> None:
    assert msgspec.json.decode(msgspec.json.encode(FIGURES), type=Stats) == FIGURES
    assert FIGURES.pids.all == [10, 11, 12, 13]


def test_keys_of_a_newer_server_are_passed_over() -> None:
    newer = {**STATS, "weather": [1], "pids": {**STATS["pids"], "router": 14}}
    assert msgspec.json.decode(json.dumps(newer), type=Stats) == FIGURES


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"connections": "1000"}, "got `str` - at `$.connections`"),
        ({"connections": None}, "got `null` - at `$.connections`"),
        ({"logins": 1.5}, "got `float` - at `$.logins`"),
        ({"fronts": None}, "got `null` - at `$.fronts`"),
        ({"fronts": [None, "gone"]}, "got `str` - at `$.fronts["),
        ({"pids": {"parent": 1, "nursery": 2}}, "required field `fronts` - at `$.pids`"),
        ({"rejected": {"many": 1}}, "in `$.rejected`"),
        ({"ticks": [{"number": 1}]}, "required field `planned` - at `$.ticks["),
    ],
)
def test_a_figure_of_another_type_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(MALFORMED, match=re.escape(words)):
        msgspec.json.decode(json.dumps({**STATS, **changes}), type=Stats)


@pytest.mark.parametrize("name", sorted(STATS))
def test_a_figure_that_is_missing_is_named(name: str) -> None:
    left = {key: value for key, value in STATS.items() if key != name}
    with pytest.raises(MALFORMED, match=f"Object missing required field `{name}`"):
        msgspec.json.decode(json.dumps(left), type=Stats)


@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b"\xff", b'{"\xff": 1}', b'{"x":' + b"[" * 10_000])
def test_what_is_no_answer_is_malformed(text: bytes) -> None:
    with pytest.raises(MALFORMED):
        msgspec.json.decode(text, type=Published)


def test_every_key_is_described() -> None:
    kinds = [kind for kind in vars(control).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    names = {name for kind in kinds if kind is not Generated for name in kind.__struct_fields__}
    assert len(names) > 40
    assert not {name for name in names if f"`{name}`" not in DOCS and f'"{name}"' not in DOCS}
    assert f"`{control.TOKEN_VARIABLE}`" in DOCS


def test_a_line_that_is_filled_in_is_the_publication_it_stands_for() -> None:
    line = PUBLICATION_LINE % (7, b"@0000000001000000000+00000000 xxx")
    publication = Publication(7, "@0000000001000000000+00000000 xxx")
    assert msgspec.json.decode(line, type=Publication) == publication
    assert line == msgspec.json.encode(publication) + b"\n"


def test_what_a_generator_left_out_is_the_rest_of_its_plan() -> None:
    assert generated(published=60).unpublished == 40
