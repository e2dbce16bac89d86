"""A link between two network namespaces, the client's (where this process is) and the server's: a veth pair.

The client's device has the addresses of the plan, the server's one has one; each routes to the other, so packets
cross a device, queues and neighbour tables, as on 2008's virtual interfaces. Both are of networks set apart for
benchmarks (RFC 2544, RFC 5180). The pair is gone with the namespaces.

pyroute2 runs an event loop: call this in a process of its own. Fails: NetlinkError.
"""

from collections.abc import Sequence

from pyroute2 import IPRoute

from floodtest.loadgen.network.addresses import NO_DAD

CLIENT_DEVICE, SERVER_DEVICE = "client", "server"


def make_pair(server_namespace: int) -> None:
    """Make the two devices, the server's one in the namespace of that descriptor."""
    with IPRoute() as ip:
        ip.link("add", ifname=CLIENT_DEVICE, kind="veth", peer={"ifname": SERVER_DEVICE, "net_ns_fd": server_namespace})


def set_up_client(addresses: Sequence[str], server: str) -> None:
    """Give the client's device its addresses, and a route to the server."""
    with IPRoute() as ip:
        index = _take_up(ip, CLIENT_DEVICE)
        for address in addresses:
            _add(ip, index, address)
        ip.route("add", dst=f"{server}/{_length(server)}", oif=index)


def set_up_server(server: str) -> None:
    """Give the server's device its address, and a route to everything; called in the server's namespace."""
    with IPRoute() as ip:
        index = _take_up(ip, SERVER_DEVICE)
        _add(ip, index, server)
        ip.route("add", dst="::/0" if ":" in server else "0.0.0.0/0", oif=index)


def _take_up(ip: IPRoute, device: str) -> int:
    index: int = ip.link_lookup(ifname=device)[0]
    ip.link("set", index=index, state="up")
    return index


def _add(ip: IPRoute, index: int, address: str) -> None:
    options = {"flags": NO_DAD} if ":" in address else {}
    ip.addr("add", index=index, address=address, prefixlen=_length(address), **options)


def _length(address: str) -> int:
    return 128 if ":" in address else 32
