#!/usr/bin/env python3
"""How soon a fleet agrees: three proxies, and an endpoint that two of them cannot hear any more.

    cargo build --release --bin pulsegate
    sudo tests/bench/fleet.py --binary target/release/pulsegate --runs 20

Each proxy is a host of its own in network namespaces. What the endpoint says is lost on its way to two of them, at a random moment between
two probes; what is told is when each proxy, by its own events, has it out. The bar is what `pulsegate plan` has for the same probes at the
worst, and 300 ms for the votes. Needs root, iproute2 and iptables.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

SIZE, ENDPOINT, OTHER = 3, 4, 5
VOTES_MS = 300
TOKEN = "0123456789abcdef0123456789abcdef"
HEALTH = "{ path: /, interval: 300ms, timeout: 250ms, fall: 3, damping: off"
SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('content-length', '2')
        self.end_headers()
        self.wfile.write(b'ok')
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer((sys.argv[1], 9000), Handler).serve_forever()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/pulsegate", help="what is measured")
    parser.add_argument("--runs", type=int, default=20, help="how often the endpoint is cut off")
    words = parser.parse_args()
    # Before other work on the machine: a proxy that does not get to run judges nobody meanwhile, and rightly so.
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with tempfile.TemporaryDirectory(prefix="pulsegate-fleet-") as folder:
        bar = detection(Path(folder), words.binary) + VOTES_MS
        village = Village(Path(folder), words.binary)
        try:
            village.begin()
            worst = [village.cut_off(run) for run in range(words.runs)]
        finally:
            village.end()
    late = sum(took > bar for took in worst)
    print(f"out everywhere after {statistics.median(worst):.0f} ms (median), {max(worst):.0f} ms (worst) of {words.runs}; bar {bar:.0f} ms, missed {late} times")
    sys.exit(1 if late else 0)


def detection(folder: Path, binary: str) -> float:
    """What `plan` says of an endpoint that hangs, at the worst, in milliseconds."""
    plan = folder / "plan.yaml"
    plan.write_text(f"clusters:\n  - name: app\n    endpoints: [127.0.0.1:9000, 127.0.0.1:9001]\n    health: {HEALTH} }}\n")
    told = subprocess.run([binary, "plan", "-c", str(plan)], check=True, capture_output=True, text=True).stdout
    number, unit = re.search(r"^ +hung +\S+ \S+ +(\S+) (ms|s) ", told, re.M).groups()
    return float(number) * (1000 if unit == "s" else 1)


def address(host: int) -> str:
    return f"10.77.1.{host}"


class Village:
    """The hosts, each a network namespace, and what runs on them."""

    def __init__(self, folder: Path, binary: str):
        self.folder, self.binary, self.name = folder, Path(binary).resolve(), f"pgfleet{random.randrange(1 << 16)}"
        self.spaces, self.programs, self.over = [], [], False
        self.events = {host: [] for host in range(1, SIZE + 1)}

    def begin(self) -> None:
        folder = self.folder
        self.make(self.name)
        ip("-n", self.name, "link", "add", "hub", "type", "bridge")
        ip("-n", self.name, "link", "set", "hub", "up")
        for host in range(1, OTHER + 1):
            self.plug_in(host)
        (folder / "fleet.key").write_text("a key that nobody else has\n")
        for host in (ENDPOINT, OTHER):
            self.start(host, folder, ["python3", "-c", SERVER, address(host)])
        for host in range(1, SIZE + 1):
            peers = ", ".join(f"{address(other)}:9902" for other in range(1, SIZE + 1) if other != host)
            (folder / f"{host}.yaml").write_text(
                f"fleet: {{ name: edge, self: edge-{host}, address: '{address(host)}:9902', peers: [{peers}], size: {SIZE}, key_file: fleet.key }}\n"
                f"admin: {{ address: '{address(host)}:9900', token_file: token }}\n"
                f"clusters:\n  - name: app\n    endpoints: [{address(ENDPOINT)}:9000, {address(OTHER)}:9000]\n    health: {HEALTH}, quorum: true }}\n"
            )
            (folder / "token").write_text(f"{TOKEN}\n")
            self.start(host, folder, [str(self.binary), "run", "-c", str(folder / f"{host}.yaml")])
            threading.Thread(target=self.listen, args=(host,), daemon=True).start()
        self.wait("all is well", lambda host: self.state(host) == "healthy")
        time.sleep(2)

    def make(self, space: str) -> None:
        ip("netns", "add", space)
        self.spaces.append(space)

    def plug_in(self, host: int) -> None:
        space, port = f"{self.name}h{host}", f"port{host}"
        self.make(space)
        ip("-n", self.name, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("-n", self.name, "link", "set", port, "master", "hub", "up")
        ip("-n", space, "address", "add", f"{address(host)}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "link", "set", "eth0", "up")

    def on(self, host: int, command: list[str]) -> list[str]:
        return ["ip", "netns", "exec", f"{self.name}h{host}", *command]

    def start(self, host: int, folder: Path, command: list[str]) -> None:
        log = open(folder / f"{host}.log", "w")
        self.programs.append(subprocess.Popen(self.on(host, command), stdout=log, stderr=log))

    def listen(self, host: int) -> None:
        """Keeps what becomes of the endpoint at a proxy, from its first event on: it may have been let in before we listen."""
        url, last = f"http://{address(host)}:9900/api/v1/events", 0
        while not self.over:
            asks = ["curl", "-sN", "-H", f"Last-Event-ID: {last}", "-H", f"Authorization: Bearer {TOKEN}", url]
            reading = subprocess.Popen(self.on(host, asks), stdout=subprocess.PIPE, text=True)
            self.programs.append(reading)
            for line in reading.stdout:
                event = json.loads(line[5:]) if line.startswith("data:") else {}
                last = max(last, event.get("id", 0))
                if event.get("endpoint") == f"{address(ENDPOINT)}:9000":
                    at = datetime.fromisoformat(event["at"].replace("Z", "+00:00")).timestamp()
                    self.events[host].append((at, event["to"]))
            time.sleep(0.1)

    def state(self, host: int) -> str | None:
        known = self.events[host]
        return known[-1][1] if known else None

    def wait(self, what: str, is_so) -> None:
        for _ in range(3000):
            if all(is_so(host) for host in range(1, SIZE + 1)):
                return
            time.sleep(0.01)
        sys.exit(f"fleet: waited 30 s in vain: {what}; {[self.state(host) for host in range(1, SIZE + 1)]}")

    def cut_off(self, run: int) -> float:
        """Milliseconds until the last proxy had it out."""
        time.sleep(random.uniform(1, 1.5))
        began = time.time()
        for host in (1, 2):
            subprocess.run(self.on(host, ["iptables", "-w", "-A", "INPUT", "-s", address(ENDPOINT), "-j", "DROP"]), check=True)
        out = lambda host: [at for at, to in self.events[host] if at > began and to in ("unhealthy", "ejected")]
        self.wait("it is out everywhere", out)
        took = [(out(host)[0] - began) * 1000 for host in range(1, SIZE + 1)]
        print(f"run {run + 1}: " + ", ".join(f"edge-{host} {one:.0f} ms" for host, one in enumerate(took, 1)), flush=True)
        for host in (1, 2):
            subprocess.run(self.on(host, ["iptables", "-w", "-F"]), check=True)
        self.wait("it is back everywhere", lambda host: self.state(host) == "healthy")
        return max(took)

    def end(self) -> None:
        self.over = True
        for program in self.programs:
            program.kill()
            program.wait()
        for space in reversed(self.spaces):
            ip("netns", "del", space)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


if __name__ == "__main__":
    main()
