"""The proxies that are compared, at equal settings, and the endpoints behind them.

A peer is a program started from a template in conf/ with its ports filled in. Nothing here measures.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENDPOINTS = 3
# A process of the responder has no more addresses, since it may not have as many files open.
SHARE = 2500
ENDPOINT_PORT = 17001
H2_PORT = 17002


@dataclass
class Peer:
    """One proxy, running."""

    name: str
    plain: int
    tls: int
    h2c: int
    process: subprocess.Popen
    label: str = ""
    upstream_h2: bool = True
    extra: dict = field(default_factory=dict)

    def pids(self) -> list[int]:
        """The process and all its descendants."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    queue += [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
            except OSError:
                continue
        return found

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            for pid in self.pids():
                os.kill(pid, signal.SIGKILL)
            self.process.wait()


class Stage:
    """Starts programs in a scratch folder and stops them all in the end."""

    def __init__(self, folder: Path, programs: Path, pulsegate: Path, envoy: str | None, core: str | None):
        self.folder, self.programs, self.pulsegate, self.envoy, self.core = folder, programs, pulsegate, envoy, core
        self.running: list[subprocess.Popen] = []
        self.port = 18000
        self.cert, self.key, self.pem = folder / "cert.pem", folder / "key.pem", folder / "both.pem"
        self.make_certificate()

    def make_certificate(self) -> None:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", str(self.key), "-out", str(self.cert)],
            check=True, capture_output=True,
        )
        self.pem.write_bytes(self.cert.read_bytes() + self.key.read_bytes())

    def ports(self, count: int) -> list[int]:
        self.port += count
        return list(range(self.port - count, self.port))

    def launch(self, command: list[str], core: str | None, log: str) -> subprocess.Popen:
        pin = ["taskset", "-c", core] if core else []
        output = open(self.folder / f"{log}.log", "ab")
        process = subprocess.Popen(pin + command, stdout=output, stderr=output, cwd=self.folder, env={**os.environ, "RUST_LOG": "error"})
        process.log = output.name
        self.running.append(process)
        return process

    def endpoints(self, core: str | None, count: int = ENDPOINTS) -> None:
        """Endpoints at 127.1.0.1 and following, and one that speaks HTTP/2."""
        for first in range(1, count + 1, SHARE):
            self.launch([str(self.programs / "responder"), str(ENDPOINT_PORT), str(min(SHARE, count + 1 - first)), str(first)], core, "responder")
        www = self.folder / "www" / "h2"
        www.mkdir(parents=True, exist_ok=True)
        (www / "1024").write_bytes(b"x" * 1024)
        self.launch(["nginx", "-c", str(self.fill("endpoint.conf", {}))], core, "endpoint")
        for address in (addresses(count)[0], addresses(count)[-1]):
            wait_for(address.split(":")[0], ENDPOINT_PORT)
        wait_for("127.0.0.1", H2_PORT)

    def fill(self, template: str, values: dict[str, object]) -> Path:
        values = {"dir": self.folder, "cert": self.cert, "key": self.key, "pem": self.pem, "h2port": H2_PORT, **values}
        text = (HERE / "conf" / template).read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        path = self.folder / f"{values.get('plain', '')}{template}"
        path.write_text(text)
        return path

    def start(self, name: str, workers: int, core: str | None) -> Peer:
        plain, tls, h2c = self.ports(3)
        process = getattr(self, f"start_{name.replace('-', '_')}")(plain, tls, h2c, workers, core)
        wait_for("127.0.0.1", plain, process)
        h2c_port = plain if name.startswith("pulsegate") else h2c
        return Peer(name, plain, tls, h2c_port, process, upstream_h2=name in ("pulsegate", "haproxy", "envoy"))

    def start_haproxy(self, plain, tls, h2c, workers, core) -> subprocess.Popen:
        servers = "\n".join(f"    server e{n} {address}" for n, address in enumerate(addresses()))
        config = self.fill("haproxy.cfg", {"plain": plain, "tls": tls, "h2c": h2c, "workers": workers, "servers": servers})
        return self.launch(["haproxy", "-f", str(config), "-db"], core, "haproxy")

    def start_nginx(self, plain, tls, h2c, workers, core) -> subprocess.Popen:
        servers = "\n".join(f"        server {address};" for address in addresses())
        values = {"plain": plain, "tls": tls, "h2c": h2c, "workers": workers, "servers": servers}
        folder = self.folder / f"nginx{plain}"
        folder.mkdir()
        return self.launch(["nginx", "-c", str(self.fill("nginx.conf", {**values, "dir": folder}))], core, "nginx")

    def start_envoy(self, plain, tls, h2c, workers, core) -> subprocess.Popen:
        servers = "\n".join(envoy_server(address) for address in addresses())
        listeners = envoy_listener("plain", plain) + envoy_listener("h2c", h2c) + envoy_listener("tls", tls, self.cert, self.key)
        config = self.fill("envoy.yaml", {"plain": plain, "listeners": listeners, "servers": servers})
        command = [self.envoy, "-c", str(config), "--concurrency", str(workers), "--use-dynamic-base-id", "-l", "error"]
        return self.launch(command, core, "envoy")

    def start_pingora(self, plain, tls, _h2c, workers, core) -> subprocess.Popen:
        command = [str(self.programs / "pingora-peer"), str(workers), f"127.0.0.1:{plain}", f"127.0.0.1:{tls}", str(self.cert), str(self.key)]
        return self.launch(command + addresses(), core, "pingora")

    def start_pulsegate(self, plain, tls, _h2c, workers, core, template="pulsegate.yaml") -> subprocess.Popen:
        (admin,) = self.ports(1)
        values = {"plain": plain, "tls": tls, "admin": admin, "workers": workers, "servers": ", ".join(addresses())}
        config = self.fill(template, values)
        return self.launch([str(self.pulsegate), "run", "-c", str(config)], core, "pulsegate")

    def start_pulsegate_full(self, plain, tls, h2c, workers, core) -> subprocess.Popen:
        return self.start_pulsegate(plain, tls, h2c, workers, core, "pulsegate-full.yaml")

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.terminate()
        for process in self.running:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


def addresses(count: int = ENDPOINTS) -> list[str]:
    """Where the endpoints listen."""
    numbers = range(1, count + 1)
    return [f"127.1.{n >> 8}.{n & 255}:{ENDPOINT_PORT}" for n in numbers]


def envoy_server(address: str) -> str:
    host, port = address.split(":")
    return f"              - endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {port} }} }} }}"


def envoy_listener(name: str, port: int, cert: Path | None = None, key: Path | None = None) -> str:
    tls = ""
    if cert:
        tls = f"""
          transport_socket:
            name: tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_certificates: [{{ certificate_chain: {{ filename: {cert} }}, private_key: {{ filename: {key} }} }}]"""
    return f"""    - name: {name}
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
      filter_chains:
        - filters:
            - name: http
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: {name}
                codec_type: AUTO
                use_remote_address: true
                via: "1.1 envoy"
                http_filters: [{{ name: router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}]
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - {{ match: {{ prefix: /h2/ }}, route: {{ cluster: h2 }} }}
                        - {{ match: {{ prefix: / }}, route: {{ cluster: app }} }}{tls}
"""


def wait_for(host: str, port: int, process: subprocess.Popen | None = None) -> None:
    """Until somebody listens there; 20 s at most."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            sys.exit(f"bench: {process.args} ended with {process.returncode}: {Path(process.log).read_text()[-2000:]}")
        try:
            socket.create_connection((host, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"bench: nobody listens at {host}:{port}")


def find(program: str) -> str | None:
    """Where a program is, also if it stands in a folder that is not on everybody's path."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")
