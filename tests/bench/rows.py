"""The rows of the table: a load each, and which figure of it is compared."""

import random
from dataclasses import dataclass
from typing import Callable

import measure
from peers import Peer, Stage

Load = Callable[[Peer], dict[str, float]]


@dataclass
class Row:
    """A load, the figure that counts, its unit, and whether more of it is better."""

    name: str
    load: Load
    figure: str = "cpu"
    unit: str = "µs/request"
    more_is_better: bool = False
    needs: Callable[[Peer], bool] = lambda peer: True


class Rows:
    """All rows, for loads of a length on a core."""

    def __init__(self, stage: Stage, seconds: float, core: str | None):
        self.stage, self.seconds, self.core = stage, seconds, core

    def wrk(self, path: str, connections: int, *options: str, tls: bool = False) -> Load:
        def load(peer: Peer) -> dict[str, float]:
            scheme, port = ("https", peer.tls) if tls else ("http", peer.plain)
            url = f"{scheme}://127.0.0.1:{port}{path}"
            return measure.with_cost(peer, lambda: measure.wrk(url, connections, self.seconds, self.core, *options))

        return load

    def h2load(self, path: str) -> Load:
        def load(peer: Peer) -> dict[str, float]:
            url = f"http://127.0.0.1:{peer.h2c}{path}"
            return measure.with_cost(peer, lambda: measure.h2load(url, 16, 32, self.seconds, self.core))

        return load

    def handshakes(self, path: str, connections: int) -> Load:
        program = self.stage.programs / "handshakes"

        def load(peer: Peer) -> dict[str, float]:
            return measure.with_cost(peer, lambda: measure.handshakes(program, peer, path, self.seconds, connections, self.core))

        return load

    def volume(self, size: int, connections: int, tls: bool = False) -> Load:
        inner = self.wrk(f"/b/{size}", connections, tls=tls)

        def load(peer: Peer) -> dict[str, float]:
            figures = inner(peer)
            return {**figures, "volume": figures["done"] * size / 1e6 / figures["spent"]}

        return load

    def requests(self) -> list[Row]:
        """Rows in which every peer has one worker on one core."""
        close = ("-H", "Connection: close")
        volume = {"figure": "volume", "unit": "MB/CPU-second", "more_is_better": True}
        not_pingora = lambda peer: peer.name != "pingora"
        return [
            Row("64 connections, 1 KiB", self.wrk("/b/1024", 64)),
            Row("1 connection, 1 KiB", self.wrk("/b/1024", 1)),
            Row("512 connections, 1 KiB", self.wrk("/b/1024", 512)),
            Row("64 KiB bodies", self.volume(65536, 64), **volume),
            Row("1 MiB bodies", self.volume(1 << 20, 16), **volume),
            Row("POST with 16 KiB", self.wrk("/b/2", 64, "-s", measure.POST)),
            Row("chunked answers, 16 KiB", self.wrk("/c/16384", 64)),
            Row("new connection per request", self.wrk("/b/1024", 64, *close)),
            Row("TLS keep-alive, 1 KiB", self.wrk("/b/1024", 64, tls=True)),
            Row("TLS handshake per request", self.handshakes("/b/1024", 64)),
            Row("TLS 64 KiB", self.wrk("/b/65536", 64, tls=True)),
            Row("HTTP/2 down, HTTP/1.1 up", self.h2load("/b/1024"), needs=not_pingora),
            Row("HTTP/2 both sides", self.h2load("/h2/1024"), needs=lambda peer: peer.upstream_h2 and not_pingora(peer)),
        ]

    def system_calls(self) -> Row:
        def load(peer: Peer) -> dict[str, float]:
            url = f"http://127.0.0.1:{peer.plain}/b/1024"
            calls = measure.system_calls(peer, lambda: measure.wrk(url, 64, self.seconds, self.core))
            if calls is None:
                raise measure.Failed("perf cannot count system calls here")
            return {"calls": calls}

        return Row("system calls, 64 connections", load, "calls", "per request")

    def steady(self, rate: float) -> list[Row]:
        """Rows at a fixed rate, measured from when each request was due."""
        program = self.stage.programs / "steady"

        def load(peer: Peer) -> dict[str, float]:
            return measure.steady(program, peer, "/b/1024", rate, self.seconds, 64, self.core)

        return [Row(f"p50 at {rate:.0f}/s", load, "p50", "µs"), Row(f"p99 at {rate:.0f}/s", load, "p99", "µs")]


def visit(rows: list[Row], peers: list[Peer], runs: int, tell: Callable[[str], None]) -> dict[str, dict[str, list[float]]]:
    """Every row on every peer, `runs` times, each round in an order of its own."""
    found: dict[str, dict[str, list[float]]] = {row.name: {} for row in rows}
    for number in range(runs):
        order = [(row, peer) for row in rows for peer in peers if row.needs(peer)]
        random.shuffle(order)
        for row, peer in order:
            measure.settle()
            try:
                figures = row.load(peer)
            except measure.Failed as failure:
                tell(f"run {number + 1}: {row.name}: {peer.name}: {str(failure).strip()}")
                continue
            found[row.name].setdefault(peer.name, []).append(figures[row.figure])
            tell(f"run {number + 1}: {row.name}: {peer.name}: {figures[row.figure]:.2f} {row.unit}")
    return found
