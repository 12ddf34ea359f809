"""A real Consul agent of a test run's own: ports, data and certificates of its own, gone when the run ends."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

TOKEN = "3f6e1d0a-0000-4000-8000-0000000c7050"


class ConsulAgent:
    """`lasting`: its data outlive a kill, for which it starts in 2 s instead of 0.4 s."""

    def __init__(self, folder: Path, *, lasting: bool = False) -> None:
        self.folder, self.lasting = folder, lasting
        self.cluster: list[ConsulAgent] = [self]
        with ExitStack() as held:
            *numbers, self.port, self.tls_port = [held.enter_context(_reserved()) for _ in range(5)]
        names = ("server", "serf_lan", "serf_wan")
        self.ports = {**dict(zip(names, numbers, strict=True)), "http": self.port, "https": self.tls_port}
        self.url, self.tls_url = f"http://127.0.0.1:{self.port}", f"https://localhost:{self.tls_port}"
        self.unix_url = f"unix://{folder}/http.sock"
        self.ca = folder / "cert.pem"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not self.ca.exists():
            self._certify()
        (self.folder / "agent.json").write_text(json.dumps(self._settings()))
        others = [f"-retry-join=127.0.0.1:{a.ports['serf_lan']}" for a in self.cluster if a is not self]
        server = [f"-bootstrap-expect={len(self.cluster)}", "-server", f"-data-dir={self.folder}/data", *others]
        mode = server if self.lasting else ["-dev"]
        with (self.folder / "log").open("ab") as log:
            argv = ["consul", "agent", *mode, f"-config-file={self.folder}/agent.json"]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if len(self.cluster) == 1:
            self.wait()

    def wait(self) -> None:
        """Until it has a leader and writes."""
        while self._asked() != 200:
            assert self.process and self.process.poll() is None, (self.folder / "log").read_text()

    def leads(self) -> bool:
        return bool(self.call("GET", "/v1/status/leader") == f"127.0.0.1:{self.ports['server']}")

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def call(self, method: str, path: str, body: object = None, *, token: str = TOKEN) -> Any:
        """What a person's curl does."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        link.request(method, path, data, {"X-Consul-Token": token})
        answer = link.getresponse()
        text = answer.read()
        link.close()
        assert answer.status in (200, 404), text
        return json.loads(text) if text and answer.status == 200 else None

    def run(self, *words: str) -> str:
        """The `consul` command."""
        env = {**os.environ, "CONSUL_HTTP_ADDR": self.url, "CONSUL_HTTP_TOKEN": TOKEN}
        done = subprocess.run(["consul", *words], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def token(self, rules: str) -> str:
        """A new token that may do just that."""
        name = f"policy-{os.urandom(4).hex()}"
        self.call("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
        made = self.call("PUT", "/v1/acl/token", {"Policies": [{"Name": name}]})
        self.call("GET", f"/v1/acl/token/{made['AccessorID']}")
        return str(made["SecretID"])

    def allow(self, token: str, rules: str) -> None:
        """Change what a token may do."""
        own = self.call("GET", "/v1/acl/token/self", token=token)
        (policy,) = own["Policies"]
        now = self.call("GET", f"/v1/acl/policy/{policy['ID']}")
        self.call("PUT", f"/v1/acl/policy/{policy['ID']}", {"Name": now["Name"], "Rules": rules})

    def _asked(self) -> int:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            link.request("PUT", "/v1/kv/ready", b"1", {"X-Consul-Token": TOKEN})
            return link.getresponse().status
        except OSError:
            return 0
        finally:
            link.close()

    def _settings(self) -> Mapping[str, object]:
        return {
            "bind_addr": "127.0.0.1",
            "addresses": {"http": f"127.0.0.1 unix://{self.folder}/http.sock", "https": "127.0.0.1"},
            "ports": {**self.ports, "dns": -1, "grpc": -1},
            "node_name": f"test-{self.port}",
            "disable_update_check": True,
            "log_level": "warn",
            "performance": {"raft_multiplier": 1},
            "session_ttl_min": "500ms",
            "acl": {
                "enabled": True,
                "default_policy": "deny",
                "policy_ttl": "0s",
                "token_ttl": "0s",
                "tokens": {"master": TOKEN, "agent": TOKEN},
            },
            "cert_file": str(self.ca),
            "key_file": str(self.folder / "key.pem"),
        }

    def _certify(self) -> None:
        words = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost".split()
        where = [
            "-keyout",
            str(self.folder / "key.pem"),
            "-out",
            str(self.ca),
            "-addext",
            "subjectAltName=DNS:localhost",
        ]
        subprocess.run(["openssl", "req", *words, *where], check=True, capture_output=True)


@contextmanager
def running(*, lasting: bool = False) -> Iterator[ConsulAgent]:
    with cluster(1, lasting=lasting) as (agent,):
        yield agent


@contextmanager
def cluster(count: int, *, lasting: bool = True) -> Iterator[list[ConsulAgent]]:
    """Servers on loopback that know each other."""
    if shutil.which("consul") is None:
        if os.environ.get("OCTO_CONSUL_SUITE") == "none":
            pytest.skip("there is no Consul, as OCTO_CONSUL_SUITE=none wanted it")
        pytest.fail("there is no Consul: run ./setup test")
    folder = Path(tempfile.mkdtemp(prefix="octo-consul-", dir="/tmp"))
    agents = [ConsulAgent(folder / str(number), lasting=lasting) for number in range(count)]
    try:
        for agent in agents:
            agent.folder.mkdir()
            agent.cluster = agents
            agent.start()
        for agent in agents:
            agent.wait()
        yield agents
    finally:
        for agent in agents:
            if agent.process and agent.process.poll() is None:
                agent.resume()
                agent.kill()
        shutil.rmtree(folder)


@contextmanager
def _reserved() -> Iterator[int]:
    """A port that is free; several at once are different ones."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]
