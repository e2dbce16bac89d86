"""The server of the control API: who stalls keeps nobody waiting, and all that comes in is bounded and answered."""

import errno
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from floodtest.server_under_test.control.occupancy import STALL_SECONDS
from tests.rigs.api import ApiClient, ApiRig, get, now, play, post, stall, told

LATE = (408, "The body has not come in 10 seconds. Send it anew.\n")
CROWDED = (503, "There is no room for a request that comes slowly. Send it anew, in one piece.\n")


# -- who stalls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [64, 500])
def test_bodies_that_stall_do_not_delay_one_that_is_whole(count: int) -> None:
    async def scene(rig: ApiRig) -> None:
        stalled = [await stall(rig, post("/take", 100), b"x" * 99) for _ in range(count)]
        client = rig.connect()
        await client.send(post("/take", 3), b"abc")
        assert ((await client.answer())[2], now()) == ("taken", 0)
        assert rig.figures()["bytes"] == 99 * count
        for one in stalled:
            assert (await told(one), now()) == (LATE, 10)
        assert rig.taken == [3]
        assert rig.figures()["rejected"] == {"408": count}

    play(scene)


def test_a_body_has_ten_seconds_in_all_however_often_a_byte_of_it_comes() -> None:
    async def trickle(client: ApiClient) -> None:
        while True:
            await trio.sleep(0.9)
            await client.send(b"x")

    async def scene(rig: ApiRig) -> None:
        client = await stall(rig, post("/take", 1000))
        async with trio.open_nursery() as tasks:
            tasks.start_soon(trickle, client)
            assert (await told(client), now()) == (LATE, 10)
            tasks.cancel_scope.cancel()

    play(scene)


def test_a_body_in_pieces_is_taken_as_long_as_it_comes_in_time() -> None:
    async def scene(rig: ApiRig) -> None:
        client = await stall(rig, post("/take", 9))
        for _ in range(9):
            await trio.sleep(1)
            await client.send(b"x")
        assert ((await client.answer())[2], now(), rig.taken) == ("taken", 9, [9])

    play(scene)


def test_a_head_has_ten_seconds_from_its_first_byte() -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await trio.sleep(7)
        await client.send(b"GET /take")
        assert await told(client) == (408, "No whole request head within 10 seconds.\n")
        assert now() == 17

    play(scene)


@pytest.mark.parametrize("before", [b"", get("/give?size=1")])
def test_who_asks_nothing_is_closed_without_a_word(before: bytes) -> None:
    async def scene(rig: ApiRig) -> None:
        client = await stall(rig, before)
        if before:
            assert (await client.answer())[2] == "x"
        assert (await client.rest(), now()) == (b"", 15)
        assert rig.figures()["rejected"] == {}

    play(scene)


def test_who_does_not_take_the_answer_is_closed() -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect(reads=False)
        await client.send(get("/give?size=1000000"))
        await wait_all_tasks_blocked()
        assert rig.figures()["bytes"] > 1_000_000
        for _ in range(3):  # each piece that is taken gives the next one its time
            await trio.sleep(6)
            assert await client.stream.receive_some(1 << 16)
        await wait_all_tasks_blocked()
        assert rig.figures()["connections"] == 1
        await trio.sleep(10)
        await wait_all_tasks_blocked()
        assert (rig.figures()["connections"], rig.figures()["bytes"]) == (0, 0)

    play(scene)


def test_who_goes_in_the_middle_of_a_body_leaves_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    async def scene(rig: ApiRig) -> None:
        for _ in range(3):
            client = await stall(rig, post("/take", 100), b"x")
            await client.stream.aclose()
        await wait_all_tasks_blocked()
        assert (rig.taken, rig.figures()["connections"], now()) == ([], 0, 0)

    play(scene)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("body", [(post("/take", 9), b"12345678"), (post("/take", None), b"3\r\nabc\r\n")])
def test_a_body_that_ends_early_is_not_taken(body: tuple[bytes, ...]) -> None:
    async def scene(rig: ApiRig) -> None:
        client = await stall(rig, *body)
        await client.stream.send_eof()
        status, text = await told(client)
        assert (status, text[:22], rig.taken) == (400, "The body ends early, o", [])

    play(scene)


# -- the bound on connections ----------------------------------------------------------------------------------------


def test_one_connection_too_many_takes_the_place_of_who_has_kept_the_server_waiting_for_longest() -> None:
    async def scene(rig: ApiRig) -> None:
        idle = await stall(rig, get("/give?size=1"))
        await trio.sleep(1)
        first = await stall(rig, post("/take", 100), b"x")
        await trio.sleep(1)
        second = await stall(rig, b"GET /ta")
        await trio.sleep(1)
        await idle.answer()
        await idle.send(get("/give?size=1"))  # and waits last from now on
        await idle.answer()
        for given_up in (first, second):
            client = rig.connect()
            await client.send(get("/give?size=2"))
            assert ((await client.answer())[2], now()) == ("xx", 3)
            assert await told(given_up, {"retry-after": "1"}) == CROWDED
        await trio.sleep(1)
        await stall(rig, b"")
        assert (await idle.rest(), now()) == (b"", 4)
        figures = rig.figures()
        assert (figures["connections"], figures["given_up"], figures["rejected"]) == (3, 3, {"503": 2})

    play(scene, connections=3)


def test_who_is_being_served_is_never_given_up_and_the_newcomer_waits() -> None:
    async def scene(rig: ApiRig) -> None:
        served = [await stall(rig, post("/work", 1), b"x") for _ in range(3)]
        client = await stall(rig, get("/give?size=1"))
        await trio.sleep(60)
        assert rig.figures()["connections"] == 3
        rig.may_answer.set()
        assert ((await client.answer())[2], now()) == ("x", 60.1)
        assert [(await one.answer())[2] for one in served] == ["done"] * 3

    play(scene, connections=3)


def test_who_has_just_begun_to_wait_is_not_given_up() -> None:
    async def scene(rig: ApiRig) -> None:
        clients = [rig.connect() for _ in range(50)]
        for client in clients:
            await client.send(get("/give?size=1", "Connection: close\r\n"))
        for client in clients:
            assert await told(client) == (200, "x")
            await client.stream.aclose()
        assert (rig.figures()["given_up"], now()) == (0, 0)

    play(scene, connections=3)


def test_without_descriptors_somebody_makes_room() -> None:
    async def scene(rig: ApiRig) -> None:
        await stall(rig, b"GET /")
        for given_up in (0, 1, 1):  # the first has only just begun to wait
            rig.door.comes.send_nowait(OSError(errno.EMFILE, "Too many open files"))
            await trio.sleep(1)
            assert (rig.figures()["connections"], rig.figures()["given_up"]) == (1 - given_up, given_up)
        client = await stall(rig, get("/give?size=1"))
        assert (await client.answer())[2] == "x"

    play(scene)


# -- the bound on bytes ----------------------------------------------------------------------------------------------


def test_bodies_that_fill_the_memory_give_way_by_how_long_they_have_waited() -> None:
    async def scene(rig: ApiRig) -> None:
        stalled = [await stall(rig, post("/take", 10_000), b"x" * 2500) for _ in range(4)]
        await trio.sleep(1)
        assert rig.figures()["bytes"] == 10_000
        await stalled[0].send(b"x")  # which makes room at the second one's expense
        assert await told(stalled[1], {"retry-after": "1"}) == CROWDED
        client = rig.connect()
        await client.send(post("/take", 4000), b"x" * 4000)
        assert ((await client.answer())[2], now()) == ("taken", 1)
        assert await told(stalled[2]) == CROWDED
        await wait_all_tasks_blocked()
        assert rig.figures()["bytes"] == 2501 + 2500

    play(scene, size=10_000)


async def _trickle(client: ApiClient) -> None:
    """Send a byte more often than anybody is said to stall, until the server says the last words."""
    with suppress(trio.BrokenResourceError):
        while True:
            await trio.sleep(STALL_SECONDS / 2)
            await client.send(b"x")


BEGUN = [b"GET /gi", post("/take", 10_000) + b"x" * 100]


@pytest.mark.parametrize("begun", BEGUN, ids=["heads", "bodies"])
def test_who_trickles_a_request_gives_way_as_who_stalls(begun: bytes) -> None:
    async def scene(rig: ApiRig) -> None:
        trickled = [await stall(rig, begun) for _ in range(64)]
        async with trio.open_nursery() as tasks:
            for one in trickled:
                tasks.start_soon(_trickle, one)
            await trio.sleep(1)
            client = rig.connect()
            await client.send(post("/take", 50), b"x" * 50)
            assert ((await client.answer())[2], now(), rig.taken) == ("taken", 1, [50])
            tasks.cancel_scope.cancel()
        assert 1 <= rig.figures()["given_up"] <= 2  # for the newcomer, and perhaps for a byte of another

    play(scene, connections=64 if begun.startswith(b"GET") else 1024, size=64 * 120)


def test_who_was_slow_with_one_request_is_not_with_the_next() -> None:
    async def scene(rig: ApiRig) -> None:
        client = await stall(rig, get("/give?size=1")[:9])
        await trio.sleep(5)
        await client.send(get("/give?size=1")[9:])
        await client.answer()
        other = await stall(rig, b"GET /gi")
        await trio.sleep(0.2)
        await client.send(b"GET /gi")
        third = rig.connect()
        await third.send(get("/give?size=2"))
        assert ((await third.answer())[2], await told(other)) == ("xx", CROWDED)

    play(scene, connections=2)


def test_idleness_before_a_request_is_no_slowness_of_it() -> None:
    async def scene(rig: ApiRig) -> None:
        idle = await stall(rig)
        await trio.sleep(5)
        slow = await stall(rig, post("/take", 600), b"x" * 490)
        await trio.sleep(0.1)
        await idle.send(post("/take", 600) + b"x" * 490)
        await trio.sleep(0.2)
        client = rig.connect()
        await client.send(post("/take", 30) + b"x" * 30)
        assert (await client.answer())[2] == "taken"
        assert await told(slow) == CROWDED
        await idle.send(b"x" * 110)
        assert (await idle.answer())[2] == "taken"

    play(scene, size=1000)


def test_bodies_that_are_whole_are_never_given_up_and_the_newcomer_waits() -> None:
    async def scene(rig: ApiRig) -> None:
        whole = [await stall(rig, post("/work", 300), b"x" * 300) for _ in range(3)]
        client = await stall(rig, post("/take", 300), b"x" * 300)
        await trio.sleep(60)  # which is no fault of its own
        assert rig.figures()["bytes"] == 900
        rig.may_answer.set()
        assert ((await client.answer())[2], now()) == ("taken", 60)
        assert [(await one.answer())[2] for one in whole] == ["done"] * 3

    play(scene, size=1000)


def test_of_two_that_wait_for_memory_one_gets_it() -> None:
    async def scene(rig: ApiRig) -> None:
        first = await stall(rig, post("/take", 8000), b"x" * 5000)
        whole = await stall(rig, post("/work", 4000), b"x" * 4000)
        await first.send(b"x" * 3000)
        await wait_all_tasks_blocked()
        second = await stall(rig, post("/take", 2000), b"x" * 2000)
        assert (await told(first), now()) == (CROWDED, 0.1)
        assert (await second.answer())[2] == "taken"
        rig.may_answer.set()
        assert (await whole.answer())[2] == "done"

    play(scene, size=10_000)


def test_one_alone_gets_all_the_memory_it_needs() -> None:
    async def scene(rig: ApiRig) -> None:
        client = rig.connect()
        await client.send(post("/take", 5000), b"x" * 5000)
        assert (await client.answer())[2] == "taken"
        await client.send(get("/give?size=5000"))
        assert (len((await client.answer())[2]), now()) == (5000, 0)

    play(scene, size=1000)


def test_answers_that_nobody_takes_give_way_to_others_which_wait_for_nobody() -> None:
    async def scene(rig: ApiRig) -> None:
        for given_up in (0, 0, 1):  # when the third comes, the second has waited for 60 ms only
            unread = rig.connect(reads=False)
            await unread.send(get("/give?size=100000"))
            await wait_all_tasks_blocked()
            assert rig.figures()["given_up"] == given_up
            await trio.sleep(0.06)
        assert 200_000 < rig.figures()["bytes"] < 250_000

    play(scene, size=150_000)
