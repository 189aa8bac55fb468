"""How cost grows with size, ours alone: routes, endpoints, probes, connections; requests, reloads, pages, and a mass of changes."""

import json
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Callable

import measure
from peers import SHARE, Peer, Stage, addresses, wait_for
from table import cell

Tell = Callable[[str], None]
KEYS = str(Path(__file__).resolve().parent / "conf" / "keys.lua")
PAGES = 10


class Proxy:
    """One of ours with a configuration made for a size."""

    def __init__(self, stage: Stage, text: str):
        (self.port, self.admin) = stage.ports(2)
        self.config = stage.folder / f"growth-{self.port}.yaml"
        self.text = f"admin: {{ address: 127.0.0.1:{self.admin} }}\nworkers: 1\n" + text.replace("@port@", str(self.port))
        self.config.write_text(self.text)
        process = stage.launch([str(stage.pulsegate), "run", "-c", str(self.config)], stage.core, "growth")
        wait_for("127.0.0.1", self.port, process)
        self.peer = Peer("pulsegate", self.port, 0, 0, process)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.stop()

    def ask(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}{path}", method=method)
        return urllib.request.urlopen(request, timeout=60).read()

    def timed(self, path: str, method: str = "GET") -> float:
        """Milliseconds from the request to the end of the answer."""
        before = time.monotonic()
        self.ask(path, method)
        return (time.monotonic() - before) * 1000

    def threads(self) -> dict[str, int]:
        """Nanoseconds on a CPU of each thread so far."""
        tasks = Path(f"/proc/{self.peer.process.pid}/task").iterdir()
        return {(task / "comm").read_text().strip(): int((task / "schedstat").read_text().split()[0]) for task in tasks}

    def reload(self) -> float:
        """Milliseconds for a change of one setting of every cluster."""
        self.text = self.text.replace("connect_timeout: 1s", "connect_timeout: 2s")
        self.config.write_text(self.text)
        return self.timed("/api/v1/reload", "POST")


def listener(routes: str = "cluster: app") -> str:
    return f"listeners:\n  - name: web\n    address: 127.0.0.1:@port@\n    limits: {{ connections: 24000 }}\n    {routes}\n"


def cluster(count: int, settings: str, among: int = 0) -> str:
    """So many endpoints; `among` so many if they are to be spread evenly over the programs that play as many."""
    among = max(among, count)
    listed = "\n".join(f"      - {address}" for address in addresses(among)[:: among // count][:count])
    return f"clusters:\n  - name: app\n    endpoints:\n{listed}\n    connect_timeout: 1s\n    {settings}\n"


def routes(count: int) -> str:
    """By host and by prefix in turn; the load asks for the last two."""
    lines = [f"host: s{n}.example.com" if n % 2 else f"path_prefix: /team{n % 7}/service{n}" for n in range(count)]
    return "routes:\n" + "\n".join(f"      - {{ match: {{ {line} }}, cluster: app }}" for line in lines)


class Growth:
    """The rows; each is (name, unit, figures by size)."""

    def __init__(self, stage: Stage, seconds: float, runs: int, core: str | None, tell: Tell):
        self.stage, self.seconds, self.runs, self.core, self.tell = stage, seconds, runs, core, tell
        self.lines: list[tuple[str, str, dict[int, list[float]]]] = []

    def note(self, name: str, unit: str, size: int, values: list[float]) -> None:
        line = next((line for line in self.lines if line[0] == name), None)
        if line is None:
            line = (name, unit, {})
            self.lines.append(line)
        line[2][size] = values
        self.tell(f"{name}: {size}: {median(values):.3g} {unit}")

    def cost(self, proxies: dict[int, Proxy], path: str, connections: int, *options: str) -> dict[int, list[float]]:
        """CPU for a request, the sizes visited in turn."""
        found: dict[int, list[float]] = {size: [] for size in proxies}
        for _ in range(self.runs):
            for size, proxy in proxies.items():
                url = f"http://127.0.0.1:{proxy.port}{path}"
                load = lambda: measure.wrk(url, connections, self.seconds, self.core, *options)
                found[size].append(measure.with_cost(proxy.peer, load)["cpu"])
        return found

    def requests(self, name: str, proxies: dict[int, Proxy], path: str, *options: str) -> None:
        # Connections are made and pools filled first.
        for proxy in proxies.values():
            measure.wrk(f"http://127.0.0.1:{proxy.port}{path}", 64, 1, self.core, *options)
        for size, values in self.cost(proxies, path, 64, *options).items():
            self.note(name, "µs/request", size, values)

    def routes(self) -> None:
        make = lambda count: Proxy(self.stage, listener(routes(count)) + cluster(3, "health: off"))
        proxies = {count: make(count) for count in (10, 1000, 10_000)}
        path = lambda size: f"/team{(size - 2) % 7}/service{size - 2}/orders"
        for size, proxy in proxies.items():
            self.requests("request, routes by host", {size: proxy}, "/b/1024", "-H", f"Host: s{size - 1}.example.com")
            self.requests("request, routes by prefix", {size: proxy}, path(size))
            self.note("reload, routes", "ms", size, [proxy.reload()])
            proxy.peer.stop()

    def endpoints(self) -> None:
        sizes = (3, 100, 10_000)
        for name, balance, options in (
            ("request, endpoints in turn", "round_robin", ()),
            ("request, endpoints by 64 keys: as many connections", "{ hash: { header: x-key } }", ("-s", KEYS)),
        ):
            settings = f"balance: {balance}\n    pool: {{ idle_timeout: 60s, idle_connections: 512 }}\n    health: off"
            # To wake one of four programs costs more than to wake one that hardly sleeps.
            proxies = {size: Proxy(self.stage, listener() + cluster(size, settings, max(sizes))) for size in sizes}
            self.requests(name, proxies, "/b/1024", *options)
            for proxy in proxies.values():
                proxy.peer.stop()

    def pages(self) -> None:
        health = "health: { path: /health, interval: 10s, report: { format: none } }"
        for size in (3, 100, 1000, 10_000):
            with Proxy(self.stage, listener() + cluster(size, health)) as proxy:
                before = proxy.threads()
                for name, path in (("scrape", "/metrics"), ("status", "/api/v1/status")):
                    self.note(f"{name}, endpoints", "ms", size, [proxy.timed(path) for _ in range(PAGES)])
                after = proxy.threads()
                spent = {name: (after[name] - before.get(name, 0)) / 1e6 / PAGES / 2 for name in after}
                self.note("CPU for one page: admin thread", "ms", size, [spent.get("admin", 0.0)])
                self.note("CPU for one page: worker", "ms", size, [spent.get("worker-0", 0.0)])
                self.note("reload, endpoints", "ms", size, [proxy.reload()])

    def probes(self) -> None:
        health = "health: { path: /health, interval: 1s, timeout: 900ms, report: { format: none } }"
        for size in (10, 100, 1000, 10_000):
            with Proxy(self.stage, listener() + cluster(size, health)) as proxy:
                time.sleep(4 if size <= 1000 else 10)
                before = measure.run_nanoseconds(proxy.peer)
                time.sleep(5)
                self.note("probes a second", "% of a core", size, [(measure.run_nanoseconds(proxy.peer) - before) / 5e7])

    def connections(self) -> None:
        with Proxy(self.stage, listener() + cluster(3, "pool: { idle_timeout: 60s, idle_connections: 8000 }\n    health: off")) as proxy:
            for size in (1, 64, 1000, 9000):
                values = [self.cost({size: proxy}, "/b/1024", size)[size] for _ in range(1)][0]
                self.note("request, connections", "µs/request", size, values)

    def flip(self) -> None:
        """Requests at a fixed rate while half of the endpoints fail their probes."""
        health = "pool: { idle_timeout: 1s }\n    health: { path: /health, interval: 1s, timeout: 900ms, fall: 2, report: { format: none } }"
        size, rate, seconds = 10_000, 2000, 6
        program = self.stage.programs / "steady"
        with Proxy(self.stage, listener() + cluster(size, health)) as proxy:
            time.sleep(12)
            steady = lambda: measure.steady(program, proxy.peer, "/b/1024", rate, seconds, 64, self.core)
            for name, sick in (("all are well", 0), ("half of 10,000 are going", size // 2), ("half of 10,000 are coming back", 0)):
                for address in addresses(size)[::SHARE]:
                    urllib.request.urlopen(f"http://{address}/sick/{sick}", timeout=5).read()
                figures = steady()
                status = json.loads(proxy.ask("/api/v1/status"))["clusters"][0]["available"]
                self.note(f"p99 while {name}", "µs", size, [figures["p99"]])
                self.tell(f"then {status} are available; p99.9 {figures['p999']:.0f} µs, longest {figures['max']:.0f} µs")


def run(stage: Stage, parts: list[str], seconds: float, runs: int, core: str | None, tell: Tell) -> list[tuple[str, str, dict[int, list[float]]]]:
    growth = Growth(stage, seconds, runs, core, tell)
    for part in parts:
        getattr(growth, part)()
    return growth.lines


PARTS = ["routes", "endpoints", "pages", "probes", "connections", "flip"]


def markdown(lines: list[tuple[str, str, dict[int, list[float]]]]) -> str:
    """A table for the rows of each set of sizes."""
    tables: dict[tuple[int, ...], list[str]] = {}
    for name, unit, found in lines:
        sizes = tuple(sorted(found))
        head = ["| row | unit | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---" * (len(sizes) + 2) + "|"]
        cells = [name, unit, *(cell(found[size]) for size in sizes)]
        tables.setdefault(sizes, head).append("| " + " | ".join(cells) + " |")
    return "\n\n".join("\n".join(rows) for rows in tables.values())
