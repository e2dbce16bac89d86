"""Remarks on a run, which are no shortfall: what its figures, or what servers said, make a person look at. Pure.

In: the answers that were kept, the summary. Out: sentences, of what it is and what helps.
"""

from collections.abc import Sequence

from floodtest.analysis.record import summary as sums
from floodtest.analysis.record.causes import words_of
from floodtest.analysis.record.samples import Sample
from floodtest.analysis.record.summary import Summary
from floodtest.flyweight.command.counted import counted
from floodtest.loadgen.client.accounts import code_name
from floodtest.loadgen.client.kept_answers import KeptAnswer
from floodtest.wire.causes import Cause

_LINE_ENDS = ("\\n", "\\r", ".")
"""What first words may end with, in this order, as answers have it that are kept (`client.kept_answers.visible`)."""

NOTABLE = 0.01
"""The share of requests to connect that were sent again which is no chance any more."""


def remarks_on_first_words(answers: Sequence[KeptAnswer]) -> list[str]:
    """Say what a server said first on a raw stream that was open by then, where that looks like an error."""
    name = code_name(Cause.SAID_ERROR)
    said = next((answer.answer for answer in answers if answer.name == name), None)
    if said is None:
        return []
    for end in _LINE_ENDS:
        said = said.removesuffix(end)
    what, remedy = words_of(name)
    return [f"first words: {said}. {what} {remedy}"]


def remarks_on_queue(summary: Summary, in_flight: int) -> list[str]:
    """Say that the queue of connections that the server has not accepted was full, where it was.

    That alone is no shortfall: the handshake is tried again. What timed out meanwhile has failed, and is a reason.
    """
    queue = None if summary.server is None else summary.server.queue
    if queue is None:
        return []
    if queue.put_off is not None:
        return _remarks_on_waiting(queue, in_flight)
    if queue.overflows is None:
        return _remarks_on_silence(queue, summary)
    refused, is_servers = _refused(queue, summary)
    if refused == 0:
        return []
    size, remedy = _size_and_remedy(queue, in_flight)
    whose = f"the server's queue{size}" if is_servers else "a queue of the server's network"
    full = f"{whose} was full {often(refused)}, and a handshake had to be tried again a second later or more"
    return [f"listen queue: {full}: {remedy}"]


def _refused(queue: sums.ListenQueue, summary: Summary) -> tuple[int, bool]:
    """Return how often a handshake found a queue full, and whether that is known to have been the server's.

    The overflows are those of every listener of the network. What the server's listeners dropped tells theirs from
    others', but a listener that waits for requests (TCP_DEFER_ACCEPT) drops a packet of each connection as well. Ours
    does so, and nobody else connects to it; of another server it is not known whether it does.
    """
    overflows, dropped, deferred = queue.overflows or 0, queue.dropped, queue.deferred or 0
    if dropped is None:
        return overflows, False
    is_ours = summary.models.server is not None
    if is_ours:
        deferred = min(deferred, summary.connections.attempts or 0)
    if dropped > deferred:
        return min(dropped - deferred, overflows), True
    return 0 if is_ours else min(dropped, overflows), False


def _remarks_on_waiting(queue: sums.ListenQueue, in_flight: int) -> list[str]:
    """Say that the queue of a Unix socket was full."""
    if not queue.put_off:
        return []
    size, remedy = _size_and_remedy(queue, in_flight)
    full = f"the server's queue{size} was full, and {counted(queue.put_off, 'connections')} had to wait for room in it"
    return [f"listen queue: {full}: {remedy}"]


def _size_and_remedy(queue: sums.ListenQueue, in_flight: int) -> tuple[str, str]:
    """Return how large a queue is that was full, and what helps."""
    size, fewer = "", "a smaller --in-flight"
    if queue.backlog is not None:
        size = f" of {queue.backlog:,}"
        fewer = f"--in-flight {max(1, queue.backlog)}" if queue.backlog < in_flight else fewer
    return size, f"raise its backlog (listen(2), net.core.somaxconn), or take {fewer}, or --rate"


def _remarks_on_silence(queue: sums.ListenQueue, summary: Summary) -> list[str]:
    """Say that a server whose queue can't be looked at did not answer, where that was more than a chance packet."""
    again, attempts = queue.syn_retransmits or 0, summary.connections.attempts or 0
    timed_out = any(name.startswith("ETIMEDOUT@") for name in summary.connections.failed)
    if again == 0 or not (timed_out or again > attempts * NOTABLE):
        return []
    unanswered = f"{counted(again, 'requests')} to connect had no answer within a second and were sent again"
    remedy = "raise its backlog (listen(2), net.core.somaxconn), or take a smaller --in-flight, or --rate"
    return [f"listen queue: {unanswered}: packets were lost, or the server's queue was full; then {remedy}"]


def remarks_on_dropped_packets(samples: Sequence[Sample], attempts: int) -> list[str]:
    """Say that the kernel dropped packets within itself, where those are more than chance ones."""
    dropped = max((sample.packets_dropped or 0 for sample in samples), default=0)
    if dropped <= attempts * NOTABLE:
        return []
    said = (
        f"packets: the kernel of this machine dropped {counted(dropped, 'packets')}, of all programs, on their way "
        "between its sockets, as its queue for them was full. TCP sends them again 0.2 s later or more, but gives a "
        "connection up whose probes (keepalive) are dropped each time. A larger net.core.netdev_max_backlog helps."
    )
    return [said]


def remarks_on_resumption(tls: sums.Tls | None) -> list[str]:
    """Say why not one of the handshakes has taken up a session that were to (--tls-resume)."""
    if tls is None or not tls.to_resume or tls.resumed:
        return []
    why = "the server sent no ticket. Have it send some (comet serve: --tls-tickets)"
    if tls.tickets:
        why = (
            f"{counted(tls.tickets, 'tickets')} came, either when all of these had begun, or the server takes none of "
            "its own, as where it keeps no sessions, or several of one address have keys of their own"
        )
    return [f"tls: none of {counted(tls.to_resume, 'handshakes')} that were to be resumed (--tls-resume) was: {why}"]


def often(number: int) -> str:
    """Write how often something was."""
    return "once" if number == 1 else f"{number:,} times"
