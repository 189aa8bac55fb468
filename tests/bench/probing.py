"""What probing costs: CPU of one core and memory, with an endpoint count and a probe of each every second."""

import time
from pathlib import Path

import measure
from peers import Peer, Stage, addresses

PEERS = ["pulsegate", "haproxy", "envoy"]


def start(stage: Stage, name: str, count: int) -> Peer:
    """A peer that does nothing but probe."""
    (port, admin) = stage.ports(2)
    servers = addresses(count)
    config = stage.folder / f"probing-{name}-{count}"
    if name == "pulsegate":
        listed = "\n".join(f"      - {address}" for address in servers)
        config.write_text(
            f"admin: {{ address: 127.0.0.1:{admin} }}\nworkers: 1\n"
            f"listeners: [{{ address: 127.0.0.1:{port}, cluster: app }}]\n"
            f"clusters:\n  - name: app\n    endpoints:\n{listed}\n    health: {{ path: /health, interval: 1s, timeout: 900ms, report: {{ format: none }} }}\n"
        )
        command = [str(stage.pulsegate), "run", "-c", str(config)]
    elif name == "haproxy":
        listed = "\n".join(f"    server e{n} {address} check inter 1s" for n, address in enumerate(servers))
        config.write_text(
            "global\n    nbthread 1\n    no strict-limits\n    maxconn 2000\ndefaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n    timeout server 5s\n"
            f"    timeout check 900ms\nfrontend f\n    bind 127.0.0.1:{port}\n    default_backend app\nbackend app\n    option httpchk GET /health\n{listed}\n"
        )
        command = ["haproxy", "-f", str(config), "-db"]
    else:
        config = config.with_suffix(".yaml")
        config.write_text(envoy(port, servers))
        command = [stage.envoy, "-c", str(config), "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"]
    return Peer(name, port, 0, 0, stage.launch(command, stage.core, f"probing-{name}"))


def envoy(port: int, servers: list[str]) -> str:
    listed = "\n".join(
        f"              - endpoint: {{ address: {{ socket_address: {{ address: {a.split(':')[0]}, port_value: {a.split(':')[1]} }} }} }}" for a in servers
    )
    return f"""static_resources:
  clusters:
    - name: app
      type: STATIC
      connect_timeout: 1s
      health_checks:
        - timeout: 0.9s
          interval: 1s
          unhealthy_threshold: 3
          healthy_threshold: 1
          http_health_check: {{ path: /health }}
      load_assignment:
        cluster_name: app
        endpoints:
          - lb_endpoints:
{listed}
"""


def run(stage: Stage, counts: list[int], seconds: float, tell) -> list[tuple[str, str, bool, dict[str, list[float]]]]:
    """Rows of CPU and memory for each count; one peer at a time, after it has come to rest."""
    lines = []
    for count in counts:
        cpu: dict[str, list[float]] = {}
        memory: dict[str, list[float]] = {}
        for name in PEERS:
            if name == "envoy" and not stage.envoy:
                continue
            peer = start(stage, name, count)
            time.sleep(5 if count <= 1000 else 12)
            if peer.process.poll() is not None:
                tell(f"probing {count}: {name} did not start")
                continue
            before = measure.run_nanoseconds(peer)
            time.sleep(seconds)
            cpu[name] = [(measure.run_nanoseconds(peer) - before) / 1e7 / seconds]
            memory[name] = [measure.memory_kib(peer) / 1024]
            tell(f"probing {count}: {name}: {cpu[name][0]:.2f} % of a core, {memory[name][0]:.1f} MiB")
            peer.stop()
        lines.append((f"probes, {count} endpoints each second", "% of a core", False, cpu))
        lines.append((f"memory, {count} endpoints", "MiB", False, memory))
    return lines
