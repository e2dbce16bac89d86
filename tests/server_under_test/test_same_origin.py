"""server_under_test.control.same_origin: which requests are a web page's, by their headers."""

import pytest

from floodtest.server_under_test.control.same_origin import Headers, why_refused


def headers(host: str | None = "127.0.0.1:8001", origin: str | None = None, site: str | None = None) -> Headers:
    given = {"host": host, "origin": origin, "sec-fetch-site": site}
    return [(name.encode(), value.encode("latin-1")) for name, value in given.items() if value is not None]


LOOPBACK = [
    "localhost", "localhost:8001", "LocalHost:8001", "localhost.", "localhost.:8001", "localhost:",
    "127.0.0.1", "127.0.0.1:8001", "127.255.255.254:1", "127.0.0.1.:8001",
    "[::1]", "[::1]:8001", "[0:0:0:0:0:0:0:1]:8001", "[0000::0001]", "[::ffff:127.0.0.1]:8001", "[::FFFF:7f00:1]",
]  # fmt: skip
ELSEWHERE = [
    "evil.example", "evil.example:8001", "comet", "localhost.evil.example", "evil-localhost", "localhost-",
    "local.host", "evil.localhost", "127.0.0.1.evil.example:8001", "127.0.0.1.nip.io", "localhost..",
    "0.0.0.0:8001", "128.0.0.1", "192.168.0.7:8001", "10.0.0.1", "[::]", "[::2]:8001", "[fe80::1]", "[::ffff:10.0.0.1]",
    "127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1",
]  # fmt: skip
NO_HOSTS = [
    "", ":8001", "localhost:80:80", "localhost:http", "localhost:-1", "localhost:800100", "user@localhost",
    "localhost/", "localhost, evil.example", "localhost evil.example", "localhost\tx", "::1", "::1:8001", "[::1",
    "[::1]x", "[]", "[127.0.0.1]", "[::1%lo]:8001", "loc\xe4lhost", "localhost?x", "http://localhost",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK)
def test_without_a_token_names_of_this_machine_are_served(host: str) -> None:
    assert why_refused(headers(host), any_host=False) is None


@pytest.mark.parametrize("host", ELSEWHERE + NO_HOSTS)
def test_without_a_token_other_names_are_refused(host: str) -> None:
    reason = why_refused(headers(host), any_host=False)
    assert reason is not None
    assert "start comet serve with a token." in reason


@pytest.mark.parametrize("host", LOOPBACK + ELSEWHERE)
def test_with_a_token_every_name_is_served(host: str) -> None:
    assert why_refused(headers(host), any_host=True) is None


@pytest.mark.parametrize("host", sorted({*NO_HOSTS} - {"[]", "[127.0.0.1]"}))
def test_with_a_token_what_is_no_name_is_refused(host: str) -> None:
    assert why_refused(headers(host), any_host=True) is not None


def test_a_request_of_http_1_0_need_not_name_a_host_where_a_token_protects() -> None:
    assert why_refused(headers(None), any_host=False) is not None
    assert why_refused(headers(None), any_host=True) is None
    assert why_refused(headers(None, "http://localhost"), any_host=True) is not None


OWN = [
    ("127.0.0.1:8001", "http://127.0.0.1:8001"),
    ("localhost:8001", "http://LOCALHOST:8001"),
    ("[::1]:8001", "http://[::1]:8001"),
    ("localhost", "http://localhost"),
    ("localhost:80", "http://localhost"),
    ("localhost", "http://localhost:80"),
]
FOREIGN = [
    ("127.0.0.1:8001", "null"),
    ("127.0.0.1:8001", ""),
    ("127.0.0.1:8001", "http://127.0.0.1"),
    ("127.0.0.1:8001", "http://127.0.0.1:8000"),
    ("127.0.0.1:8001", "http://127.0.0.2:8001"),
    ("127.0.0.1:8001", "http://localhost:8001"),
    ("127.0.0.1:8001", "https://127.0.0.1:8001"),
    ("127.0.0.1:8001", "http://evil.example"),
    ("127.0.0.1:8001", "http://127.0.0.1:8001/"),
    ("127.0.0.1:8001", "http://127.0.0.1:8001 http://evil.example"),
    ("127.0.0.1:8001", "http://evil.example@127.0.0.1:8001"),
    ("127.0.0.1:8001", "127.0.0.1:8001"),
    ("127.0.0.1:8001", "file://"),
    ("127.0.0.1:8001", "chrome-extension://abcdefghijklmnop"),
    ("127.0.0.1:8001", "http://127.0.0.1:8001\xe9"),
    ("[::1]:8001", "http://[::1]"),
]


@pytest.mark.parametrize("any_host", [False, True])
@pytest.mark.parametrize(("host", "origin"), OWN)
def test_the_origin_of_the_api_itself_is_served(host: str, origin: str, any_host: bool) -> None:
    assert why_refused(headers(host, origin), any_host) is None
    assert why_refused(headers(host, origin, "same-origin"), any_host) is None


@pytest.mark.parametrize("any_host", [False, True])
@pytest.mark.parametrize(("host", "origin"), FOREIGN)
def test_every_other_origin_is_refused_with_a_token_as_well(host: str, origin: str, any_host: bool) -> None:
    for site in (None, "none", "same-origin"):
        reason = why_refused(headers(host, origin, site), any_host)
        assert reason is not None
        assert f"(Origin: {origin})" in reason
        assert "curl" in reason


@pytest.mark.parametrize("any_host", [False, True])
@pytest.mark.parametrize(
    ("site", "served"),
    [
        ("none", True),
        ("same-origin", True),
        *((site, False) for site in ("same-site", "cross-site", "", "None", "SAME-ORIGIN", "none, none", "?1", "new")),
    ],
)
def test_only_the_apis_own_site_and_a_typed_address_are_served(site: str, served: bool, any_host: bool) -> None:
    assert (why_refused(headers(site=site), any_host) is None) == served


@pytest.mark.parametrize("any_host", [False, True])
@pytest.mark.parametrize(
    ("name", "value"), [("Host", b"127.0.0.1:8001"), ("Origin", b"http://127.0.0.1:8001"), ("Sec-Fetch-Site", b"none")]
)
def test_a_header_that_comes_twice_is_refused(name: str, value: bytes, any_host: bool) -> None:
    once = {b"host": b"127.0.0.1:8001"} | {name.lower().encode(): value}
    assert why_refused(once.items(), any_host) is None
    twice = [*once.items(), (name.lower().encode(), value)]
    assert why_refused(twice, any_host) == f"There are 2 headers {name} where one has a meaning."


def test_other_headers_make_no_difference() -> None:
    others = [(b"x-forwarded-host", b"evil.example"), (b"referer", b"http://evil.example/"), (b"cookie", b"a=b")] * 2
    assert why_refused([*headers(), *others], any_host=False) is None


def test_a_reason_is_short_however_long_what_it_names() -> None:
    for given in (headers("a" * 10_000), headers(origin="a" * 10_000), headers(site="a" * 10_000)):
        reason = why_refused(given, any_host=False)
        assert reason is not None
        assert len(reason) < 400
