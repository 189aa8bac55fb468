"""What is measured of a peer: CPU by the scheduler's account, system calls, memory; and the loads that are offered."""

import re
import resource
import socket
import subprocess
import time
from pathlib import Path

from peers import HERE, Peer


class Failed(Exception):
    """A run that was no run: a load generator that failed, or answers that were wrong."""


def run_nanoseconds(peer: Peer) -> int:
    """Time on a CPU of all threads so far, as the scheduler counts it."""
    total = 0
    for pid in peer.pids():
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except OSError:
                continue
    return total


def memory_kib(peer: Peer) -> int:
    """Resident memory that is not shared with others, over all processes of the peer."""
    total = 0
    for pid in peer.pids():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += int(line.split()[1])
    return total


def with_cost(peer: Peer, load) -> dict[str, float]:
    """Runs a load and adds what it cost the peer: `cpu` in microseconds per request."""
    before = run_nanoseconds(peer)
    figures = load()
    spent = run_nanoseconds(peer) - before
    if not figures["done"]:
        raise Failed("nothing was answered")
    figures["cpu"] = spent / 1000 / figures["done"]
    figures["spent"] = spent / 1e9
    return figures


def output(command: list[str], seconds: float) -> str:
    """What a load generator prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def wrk(url: str, connections: int, seconds: float, core: str | None, *options: str) -> dict[str, float]:
    """Closed-loop load over HTTP/1.1."""
    pin = ["taskset", "-c", core] if core else []
    command = pin + ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}", "--timeout", "5", *options, url]
    text = output(command, seconds)
    found = re.search(r"(\d+) requests in ([\d.]+)(\w+),", text)
    if not found:
        raise Failed(text)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if wrong or (errors and "close" not in " ".join(options) and any(int(number) for number in errors.groups())):
        raise Failed(text)
    done = int(found[1])
    return {"done": done, "rate": done / seconds}


def h2load(url: str, connections: int, streams: int, seconds: float, core: str | None) -> dict[str, float]:
    """Closed-loop load over HTTP/2."""
    pin = ["taskset", "-c", core] if core else []
    command = pin + ["h2load", f"-c{connections}", f"-m{streams}", f"-D{max(1, round(seconds))}", url]
    text = output(command, seconds)
    # Requests that are under way when time is up count as failed there; wrong answers are what matters.
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    if not codes or any(int(number) for number in codes.groups()[1:]):
        raise Failed(text)
    return {"done": int(codes[1]), "rate": int(codes[1]) / seconds}


def steady(program: Path, peer: Peer, path: str, rate: float, seconds: float, connections: int, core: str | None) -> dict[str, float]:
    """Open-loop load at a fixed rate; times in microseconds from when each request was due."""
    pin = ["taskset", "-c", core] if core else []
    command = pin + [str(program), f"127.0.0.1:{peer.plain}", path, str(rate), str(seconds), str(connections)]
    words = output(command, seconds).split()
    done, failed, p50, p90, p99, p999, largest = map(float, words)
    if failed:
        raise Failed(f"{peer.name}: {failed:.0f} of {done + failed:.0f} requests failed")
    return {"done": done, "p50": p50, "p90": p90, "p99": p99, "p999": p999, "max": largest}


def handshakes(program: Path, peer: Peer, path: str, seconds: float, connections: int, core: str | None) -> dict[str, float]:
    """Closed-loop load with a whole handshake for each request: wrk offers its last session again, and not everybody takes it."""
    pin = ["taskset", "-c", core] if core else []
    words = output(pin + [str(program), f"127.0.0.1:{peer.tls}", path, str(seconds), str(connections)], seconds).split()
    done, failed = map(int, words)
    if failed:
        raise Failed(f"{peer.name}: {failed} of {done + failed} requests failed")
    return {"done": done, "rate": done / seconds}


def system_calls(peer: Peer, load) -> float | None:
    """System calls per request under a load; none where the kernel does not let us count."""
    command = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", ",".join(map(str, peer.pids()))]
    try:
        watch = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    except OSError:
        return None
    figures = load()
    watch.send_signal(2)
    text = watch.communicate(timeout=10)[1]
    found = re.search(r"^(\d+),,raw_syscalls", text, re.MULTILINE)
    return int(found[1]) / figures["done"] if found else None


def idle_connections(peer: Peer, count: int) -> list[socket.socket]:
    """Connections that have each had one answer and now wait."""
    request = f"GET /b/2 HTTP/1.1\r\nHost: 127.0.0.1:{peer.plain}\r\n\r\n".encode()
    opened = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", peer.plain), timeout=5)
        client.sendall(request)
        if not client.recv(4096).startswith(b"HTTP/1.1 200"):
            raise Failed(f"{peer.name}: an idle connection was not served")
        opened.append(client)
    return opened


def settle() -> None:
    """Lets what was just started, or just loaded, come to rest."""
    time.sleep(0.2)


def raise_limits() -> None:
    """As many open files as we may have: 10,000 connections need as many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


POST = str(HERE / "conf" / "post.lua")
