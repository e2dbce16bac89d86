"""Makes the golden files beside it by libketama itself: `pip install ketama==0.1.1; python make.py`.

The package ketama 0.1.1 on PyPI (BSD license) compiles the ketama.c and md5.c of Last.fm's libketama, which nobody here
wrote. For each list of servers there are a file that it reads, NAME.servers, and NAME.owners with a byte for each of
the 20,000 keys of `keys()`: the index of the key's server. libketama keeps a continuum in System V shared memory, which
`ipcs -m` lists and `ipcrm` removes; that has room for about 117 servers, and more end in a segmentation fault.
"""

from pathlib import Path

FOLDER = Path(__file__).parent

LISTS: dict[str, list[tuple[str, int]]] = {
    "one": [("10.0.1.1:11211", 600)],
    "eight-unequal": [
        (f"10.0.1.{number}:11211", memory)
        for number, memory in enumerate([600, 300, 200, 350, 1000, 800, 950, 100], start=1)
    ],
    "three-huge-and-tiny": [("10.0.1.1:8000", 999_999_937), ("10.0.1.2:8000", 1), ("10.0.1.3:8000", 77_777_777)],
    **{f"{count}-equal": [(f"10.0.0.{number + 1}:8000", 1024) for number in range(count)] for count in (12, 61, 100)},
}


def keys() -> list[str]:
    """Return the keys: users, and subjects that are no users."""
    return [str(user) for user in range(1, 16_001)] + [f"photo:{number}" for number in range(1, 4_001)]


def make(name: str, servers: list[tuple[str, int]]) -> None:
    """Write the two files of a list."""
    from ketama import Ketama  # type: ignore[import-not-found,unused-ignore]

    file = FOLDER / f"{name}.servers"
    file.write_text("".join(f"{server}\t{memory}\n" for server, memory in servers))
    index = {server: number for number, (server, _) in enumerate(servers)}
    ring = Ketama(str(file))
    (FOLDER / f"{name}.owners").write_bytes(bytes(index[ring.get_server(key)[1]] for key in keys()))


if __name__ == "__main__":
    for name, servers in LISTS.items():
        make(name, servers)
