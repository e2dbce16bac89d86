"""loadgen.preflight.claims: a second floodtest on the same source pairs is noticed, whoever it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from floodtest.flyweight.errors import Refused
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.claims import Claim, claim_of, claimed, claims, refuse_what_is_claimed
from tests.rigs.host import FakeMachine

PLAN = Plan(3, 100, "127.77.1.1", 4000, 300)
OURS = Claim(1, "127.0.1.1", 17, 1024, 63_023)


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        (Claim(2, "127.0.1.1", 17, 1024, 63_023), True),
        (Claim(2, "127.0.1.17", 1, 63_023, 63_023), True),
        (Claim(2, "127.0.0.255", 2, 1024, 1024), False),
        (Claim(2, "127.0.0.255", 3, 1024, 1024), True),
        (Claim(2, "127.0.1.18", 5, 1024, 63_023), False),
        (Claim(2, "127.0.1.1", 17, 63_024, 64_000), False),
        (Claim(2, "::1", 17, 1024, 63_023), False),
    ],
)
def test_claims_overlap_where_they_share_a_pair(other: Claim, overlap: bool) -> None:
    assert OURS.overlaps(other) is other.overlaps(OURS) is overlap


def test_a_claim_has_what_the_fullest_address_has() -> None:
    found = claim_of(PLAN)
    assert found == Claim(os.getpid(), "127.77.1.1", 3, 4000, 4099, found.token)


def unix(fake: FakeMachine, *names: str) -> None:
    head = "Num       RefCount Protocol Flags    Type St Inode Path\n"
    lines = (f"0000000000000000: 00000002 00000000 00010000 0002 01 {n} {name}\n" for n, name in enumerate(names))
    fake.write("proc/net/unix", head + "".join(lines))


def test_names_that_are_no_claims_are_passed_over(tmp_path: Path) -> None:
    fake = FakeMachine(tmp_path)
    unix(
        fake,
        "/run/some.sock",
        "@floodtest/x",
        "@floodtest/7/a1/1.2.3/1/2-3",
        "@floodtest/7/a1/127.0.1.1/17/1024-63023",
        "",
    )
    assert list(claims(fake.proc)) == [Claim(7, "127.0.1.1", 17, 1024, 63_023, "a1")]


def test_the_other_is_named(tmp_path: Path) -> None:
    fake = FakeMachine(tmp_path)
    unix(fake, "@floodtest/7/a1/127.77.1.2/1/4099-4099")
    with pytest.raises(Refused, match=r"process 7.*127\.77\.1\.2.*--base-ip"):
        refuse_what_is_claimed(claim_of(PLAN), fake.proc)


def test_a_claim_is_seen_by_other_processes_and_gone_with_its_block() -> None:
    code = (
        "from loadgen.preflight.claims import claimed\nfrom loadgen.plan.plan import Plan\n"
        "with claimed(Plan(3, 100, '127.77.1.3', 4050, 300)): print('had it')"
    )
    other = [sys.executable, "-P", "-c", code]
    with claimed(PLAN):
        done = subprocess.run(other, capture_output=True, text=True)
        assert done.returncode != 0
        assert f"Another floodtest (process {os.getpid()}) has 127.77.1.1" in done.stderr
    done = subprocess.run(other, capture_output=True, text=True, check=True)
    assert done.stdout == "had it\n"


def test_nobody_can_claim_in_vain_what_is_free_again() -> None:
    for _ in range(3):
        with claimed(PLAN):
            pass


def test_one_of_the_same_process_number_is_another() -> None:
    """Containers that share a network have processes of equal numbers."""
    with claimed(PLAN), pytest.raises(Refused, match="Another floodtest"), claimed(PLAN):
        pass
    with claimed(PLAN), claimed(Plan(3, 100, "127.77.2.1", 4000, 300)):
        pass
