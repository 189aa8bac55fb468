#!/usr/bin/env python3
"""What heartbeats cost: senders that push once a second, each over a connection of its own.

    cargo build --release --bin pulsegate
    tests/bench/beats.py --binary target/release/pulsegate        # 10 000 senders for 10 s

Pulsegate runs on core 0, the senders on core 1. What is told is Pulsegate's time on a CPU by the scheduler's account, its memory, and how
many beats were acknowledged, so that a figure with beats missing is none.
"""

import argparse
import os
import re
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    words = arguments()
    resource.setrlimit(resource.RLIMIT_NOFILE, (words.senders + 1000,) * 2)
    with tempfile.TemporaryDirectory(prefix="pulsegate-beats-") as folder:
        port, process = start(Path(folder), words)
        try:
            os.sched_setaffinity(0, {1 % os.cpu_count()})
            senders = Senders(port, words.senders, words.detector)
            senders.run(words.warm)
            before, acked = spent(process.pid), senders.acked
            senders.run(words.seconds)
            cpu = (spent(process.pid) - before) / 1e9 / words.seconds
            acked = senders.acked - acked
            print(f"{words.senders} senders at 1 s, detector {words.detector}: {cpu:.1%} of a core, {cpu / acked * words.seconds * 1e6:.1f} us a beat, "
                  f"{acked / words.seconds:.0f} acks/s of {words.senders}, {memory(process.pid)} MiB")
        finally:
            process.terminate()
            process.wait()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/pulsegate", help="what is measured")
    parser.add_argument("--senders", type=int, default=10_000, help="how many endpoints push")
    parser.add_argument("--detector", default="ttl", choices=["ttl", "accrual"], help="how silence is judged")
    parser.add_argument("--warm", type=float, default=5, help="seconds before measuring")
    parser.add_argument("--seconds", type=float, default=10, help="seconds of measuring")
    return parser.parse_args()


def name(number: int) -> str:
    return f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}:9000"


def start(folder: Path, words: argparse.Namespace) -> tuple[int, subprocess.Popen]:
    ports = [free() for _ in range(2)]
    listed = "\n".join(f"      - {name(number)}" for number in range(words.senders))
    (folder / "beat.tokens").write_text("0123456789abcdef0123456789abcdef\n")
    config = folder / "pulsegate.yaml"
    config.write_text(
        f"admin: {{ address: 127.0.0.1:{ports[0]} }}\nworkers: 1\nheartbeats: {{ address: 127.0.0.1:{ports[1]} }}\n"
        f"clusters:\n  - name: app\n    endpoints:\n{listed}\n    health:\n"
        f"      heartbeat: {{ period: 1s, ttl: 3500ms, detector: {words.detector}, token_file: beat.tokens }}\n"
    )
    # Telling of ten thousand admissions is no part of what is measured.
    log = open(folder / "log", "w")
    environment = {**os.environ, "RUST_LOG": "error"}
    process = subprocess.Popen(["taskset", "-c", "0", words.binary, "run", "-c", str(config)], stdout=log, stderr=log, env=environment)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", ports[1])).close()
            return ports[1], process
        except OSError:
            time.sleep(0.05)
    sys.exit(f"beats: pulsegate does not listen: {(folder / 'log').read_text()[-2000:]}")


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Senders:
    """All of them in one thread: each sends in its own slot of the second, and its ack is read when it is there."""

    def __init__(self, port: int, count: int, detector: str):
        self.selector = selectors.EpollSelector()
        self.heads, self.sockets, self.acked, self.seq, self.next = [], [], 0, 0, 0
        for number in range(count):
            opened = socket.create_connection(("127.0.0.1", port))
            opened.setblocking(False)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(opened, selectors.EVENT_READ)
            self.sockets.append(opened)
            self.heads.append(f'{{"cluster":"app","endpoint":"{name(number)}","boot_id":"0123456789abcdef","period_ms":1000,"state":"ready",')
        self.head = (
            "POST /v1/heartbeats HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\n"
            "Content-Type: application/json\r\nContent-Length: " % port
        )

    def run(self, seconds: float) -> None:
        count, began = len(self.sockets), time.monotonic()
        sent = 0
        while True:
            elapsed = time.monotonic() - began
            due = int(min(elapsed, seconds) * count)
            for _ in range(min(due - sent, 50)):
                self.send()
                sent += 1
            # Never asleep: to wake this program would be on Pulsegate's account, and senders are on other machines.
            for key, _ in self.selector.select(0):
                self.acked += key.fileobj.recv(4096).count(b"HTTP/1.1 200")
            if elapsed >= seconds and sent >= due:
                return

    def send(self) -> None:
        number = self.next
        if number == 0:
            self.seq += 1
        body = f'{self.heads[number]}"seq":{self.seq},"sent_at_ms":{time.time_ns() // 1_000_000}}}'
        self.sockets[number].send(f"{self.head}{len(body)}\r\n\r\n{body}".encode())
        self.next = (number + 1) % len(self.sockets)


def spent(pid: int) -> int:
    """Nanoseconds on a CPU of all threads so far."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def memory(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) // 1024


if __name__ == "__main__":
    main()
