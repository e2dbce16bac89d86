"""Which network a run takes: the host's, or one of its own, for which the command is started anew
(`loadgen.commands.isolated`).

`auto` takes one of its own where the server is ours and the kernel permits it; every choice comes with its reason.
"""

import os
import subprocess
import sys
from typing import NoReturn

import msgspec

from floodtest.loadgen.network.namespaces import refuse_the_host
from floodtest.loadgen.network.wish import HOST, Network, Wish, wish_of
from floodtest.loadgen.plan.options import RunOptions


def choose(options: RunOptions, made: Network | None) -> Network:
    """Return the network that a run takes; Refused where it asked for one of its own that can't be had.

    `made` is what came of starting the command anew; None: it has not been, and will be, where the run wants it.
    """
    if made is None:
        made = _of_the_host(options) or _relaunch(_wish(options))
    return _with_reason(options, made)


def foresee(options: RunOptions) -> Network:
    """Return the network that a run would take; Refused like `choose`."""
    network = _of_the_host(options) or _foresee(_wish(options))
    return _with_reason(options, network)


def _of_the_host(options: RunOptions) -> Network | None:
    """Return the host's network and why, where a run wants no other."""
    if options.network == "host":
        return msgspec.structs.replace(HOST, reason="as asked for")
    if options.cluster.is_asked:
        return msgspec.structs.replace(HOST, reason="since other machines open the connections")
    if options.target is not None:
        return msgspec.structs.replace(HOST, reason="which is where --target is")
    return None


def _with_reason(options: RunOptions, network: Network) -> Network:
    """Say why it is this one; Refused where it is not what was asked for."""
    asked = options.network == "isolated" or options.link == "veth"
    if not network.is_isolated:
        if asked:
            refuse_the_host(network)
        return network
    reason = "as asked for" if asked else "the server is ours, and the kernel permits it"
    return msgspec.structs.replace(network, reason=reason)


def _wish(options: RunOptions) -> Wish:
    return wish_of(options.plan, options.ports == "explicit", options.link)


def _relaunch(wish: Wish) -> NoReturn:
    """Start this command anew, in the network it wishes for if that can be had."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [*_command(wish), *sys.argv])


def _foresee(wish: Wish) -> Network:
    """Return the network that `_relaunch` would lead to."""
    done = subprocess.run(_command(wish), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    try:
        return msgspec.json.decode(done.stdout, type=Network)
    except msgspec.DecodeError:
        return msgspec.structs.replace(HOST, reason=f"the process that tried another ended with {done.returncode}")


def _command(wish: Wish) -> list[str]:
    return [sys.executable, "-P", "-m", "floodtest.loadgen.commands.isolated", msgspec.json.encode(wish).decode()]
