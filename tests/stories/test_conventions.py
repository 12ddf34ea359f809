"""octohost's conventions of a push: a web app, its store and the store's data; folders and ports of the host."""

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import apps
from tests.contract.router_parts import free_port
from tests.stories.host import Host, Repository

Make = Callable[[Mapping[str, str]], Repository]

STORE = """
import os, pathlib, socket
server = socket.create_server(("0.0.0.0", 6379))
print("up", flush=True)
while True:
    link, _ = server.accept()
    with link:
        word = link.makefile().readline().strip()
        kept = pathlib.Path("/data/words")
        if word:
            with kept.open("a") as file:
                file.write(word + "\\n")
        link.sendall((socket.gethostname() + " " + kept.read_text().replace("\\n", " ")).encode())
"""
SHOP = """
import http.server, os, socket

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        for code in (200, 200, 490):  # a store that ends resets what it was asked last: its clients ask again
            try:
                link = socket.create_connection((os.environ["REDIS_PORT_6379_TCP_ADDR"], 6379), 5)
                link.sendall(self.path[1:].encode() + b"\\n")
                data = link.makefile().read().encode()
                break
            except ConnectionError as error:
                data = repr(error).encode()
            except OSError as error:
                data, code = repr(error).encode(), 490
                break
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
"""


def shop() -> dict[str, str]:
    lines = "# link_service redis\nCOPY shop.py ./\nEXPOSE 5000\n"
    return {"Dockerfile": f'{apps.BASE}{lines}CMD ["python3", "shop.py"]\n', "shop.py": SHOP}


def store(mark: str = "") -> dict[str, str]:
    comments = "# NO_HTTP_PROXY\n# ADD_NAME\n# VOLUMES_FROM\n"
    lines = f"{comments}COPY store.py ./\nEXPOSE 6379\nENV MARK={mark}\n"
    return {"Dockerfile": f'{apps.BASE}{lines}CMD ["python3", "store.py"]\n', "store.py": STORE}


def data() -> dict[str, str]:
    lines = "# NO_HTTP_PROXY\n# ADD_NAME\nRUN mkdir /data && echo seed > /data/words\nVOLUME /data\n"
    return {"Dockerfile": f"{apps.BASE}{lines}CMD true\n"}


@pytest.fixture
def family(host: Host) -> Iterator[str]:
    """A name for an app, whose store and data are NAME_redis and NAME_redis_data; nothing of them may be left."""
    name = f"shop-{os.urandom(3).hex()}"
    yield name
    for each in (name, f"{name}_redis", f"{name}_redis_data"):
        host.octo("apps:destroy", each, "--confirm", each, "--volumes", code=None)
    host.idle()
    assert name not in host.octo("volumes", code=None)
    assert not [n for n in host.containers() if f"-{name}" in n]


@pytest.mark.row("D5", "A16", "I1", "I4")
def test_a_web_app_its_store_and_its_data_work_together_as_on_octohost(host: Host, family: str) -> None:
    web = Repository(host, family, shop())
    said = web.push(code=1)
    assert f'cannot link to "{family}_redis": there is no such app' in said and "Building" not in said
    said = Repository(host, f"{family}_redis_data", data()).push()
    assert f"Its volumes are kept, for {family}_redis: /data" in said
    redis = Repository(host, f"{family}_redis", store())
    assert "Your container isn't available from the web because you set NO_HTTP_PROXY." in redis.push()
    web.push()
    assert host.get(family, "/bread") == (200, f"{family}_redis seed bread ")
    assert host.get(f"{family}_redis")[0] == 404

    failed, over = [], threading.Event()

    def visit() -> None:
        while not over.is_set():
            answer = host.get(family)
            if answer[0] != 200:
                failed.append(answer)

    visitor = threading.Thread(target=visit)
    visitor.start()
    redis.commit(store("again"))
    redis.push()
    host.idle()
    over.set()
    visitor.join()
    assert not failed
    assert host.octo("run", "-a", family, "--", "getent hosts redis | wc -l").strip() == "1"


@pytest.mark.row("D5")
def test_what_was_kept_is_there_for_a_new_app_of_that_name_until_it_is_destroyed(host: Host, family: str) -> None:
    name, keeper = f"{family}_redis", f"{family}_redis_data"
    Repository(host, keeper, data()).push()
    assert [n for n in host.containers() if f"-{keeper}-" in n] == []
    Repository(host, name, store()).push()
    host.octo("run", "-a", name, "--", "echo kept > /data/words")
    said = host.octo("apps:destroy", keeper, "--volumes", "--confirm", keeper, code=1)
    assert f'"{name}" uses them' in said and f"octo ps:stop {name}" in said
    assert "found by its name" in host.octo("apps:rename", keeper, f"{family}_other", code=1)
    assert f"octo volumes:destroy {keeper}" in host.octo("apps:destroy", keeper, "--confirm", keeper)
    assert any(v["app"] == keeper and not v["app_exists"] for v in host.json("volumes"))
    Repository(host, keeper, data()).push()
    assert host.octo("run", "-a", name, "--", "cat /data/words").strip() == "kept"
    host.octo("apps:destroy", name, "--confirm", name)
    host.octo("apps:destroy", keeper, "--volumes", "--confirm", keeper)
    assert keeper not in host.octo("volumes")


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="octo-mount-", dir="/tmp"))
    (made / "photo").write_text("a cat\n")
    yield made
    shutil.rmtree(made)


@pytest.mark.row("D5")
def test_a_folder_of_the_host_is_the_operators_to_allow(host: Host, app: str, repository: Make, folder: Path) -> None:
    web = repository(apps.web("hello", more=f"# MOUNT_FROM_HOST {folder} /photos\nEXPOSE 5000\n"))
    said = web.push(code=1)
    assert "cannot mount" in said and f"octo apps:allow {app} mount={folder}" in said and "Building" not in said
    refused = host.ssh("apps:allow", app, f"mount={folder}")
    assert refused.returncode == 1 and "only the operator may" in refused.stderr
    host.octo("apps:allow", app, "mount=/tmp/../etc", code=2)
    host.octo("apps:allow", app, f"mount={folder}/")
    assert host.json("apps:allow", app) == [{"kind": "mount", "value": str(folder)}]
    web.push()
    assert host.octo("run", "-a", app, "--", "cat /photos/photo").strip() == "a cat"
    said = host.octo("apps:allow", app, f"mount={folder}/inner", code=2)
    assert "one lies inside the other" in said
    host.octo("apps:deny", app, f"mount={folder}")
    assert "only the operator can allow that" in host.octo("ps:restart", app, code=1)
    assert host.get(app)[0] == 200


@pytest.mark.row("D5")
def test_a_port_of_the_host_leads_to_the_app_and_belongs_to_one(host: Host, app: str, repository: Make) -> None:
    port = free_port()
    web = repository(apps.web("hello", more=f"# PORTS_FROM_HOST {port} 5000 127.0.0.1\nEXPOSE 5000\n"))
    assert f"octo apps:allow {app} port={port}" in web.push(code=1)
    host.octo("apps:allow", app, f"port={port}", f"port={host.http_port}")
    web.push()
    assert ask(port) == b"HTTP/1.1 200 OK"
    for taken, why in ((port, f'the app "{app}" has it'), (host.http_port, "it is octo's own (all websites)")):
        other = f"{app[:30]}-b"
        host.octo("apps:create", other)
        host.octo("apps:allow", other, f"port={taken}")
        host.octo("config:set", other, f"PORTS_FROM_HOST={taken} 5000")
        copy = Repository(host, other, apps.web("other"))
        said = copy.push(code=1)
        host.octo("apps:destroy", other, "--confirm", other)
        assert why in said or "another app has it" in said
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        number = foreign.getsockname()[1]
        host.octo("apps:allow", app, f"port={number}")
        web.commit(apps.web("hello", more=f"# PORTS_FROM_HOST {number} 5000 127.0.0.1\nEXPOSE 5000\n"))
        assert f"listens on port {number}" in web.push(code=1)
    assert ask(port) == b"HTTP/1.1 200 OK"
    host.octo("ps:stop", app)
    with pytest.raises(ConnectionRefusedError):
        ask(port)


def ask(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        link.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return link.makefile("rb").readline().strip()


@pytest.mark.row("I3", "I12", "H6")
def test_containers_memory_and_proxy_follow_the_config_at_once(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    for wrong in (
        *("CONTAINERS=-1", "CONTAINERS=many", "MEMORY_LIMIT=5m", "MEMORY_LIMIT=1 potato", "CUSTOM_CHECK=health"),
        *("CUSTOM_CHECK_INTERVAL=1d", "LINK_SERVICE=a b c", "PORTS_FROM_HOST=25", "MOUNT_FROM_HOST=../x"),
    ):
        assert wrong.partition("=")[0] in host.octo("config:set", app, wrong, code=2)
    host.octo("config:set", app, "CONTAINERS=2", "MEMORY_LIMIT=96m")
    host.idle()
    assert sorted(d["name"] for d in host.json("ps", app)) == ["web.1", "web.2"]
    asked = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"
    assert host.octo("run", "-a", app, "--", f"{asked}; true").strip() == str(96 * 1024 * 1024)
    variables = host.get(app, "/env")[1].splitlines()
    assert f"CONTAINER_NAME={app}" in variables and not [
        v for v in variables if v.startswith(("CONTAINERS=", "MEMORY"))
    ]
    host.octo("ps:scale", app, "web=3")
    assert host.octo("config:get", app, "CONTAINERS").strip() == "3"
    host.octo("config:unset", app, "CONTAINERS")
    host.idle()
    assert [d["name"] for d in host.json("ps", app)] == ["web.1"]
