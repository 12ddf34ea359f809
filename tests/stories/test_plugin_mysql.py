"""The sample plugin in examples/: a real MariaDB server for an app, from Debian's packages."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests import apps
from tests.stories.host import CHECKOUT, Host, Repository

Make = Callable[[Mapping[str, str]], Repository]
KEYS = ("MYSQL_USERNAME", "MYSQL_PASSWORD", "MYSQL_DATABASE", "MYSQL_HOSTNAME", "LINK_SERVICE")

CLIENT = """
import hashlib, os, socket, struct

def sha(*parts):
    return hashlib.sha1(b"".join(parts)).digest()

class Client:
    def __init__(self):
        self.link = socket.create_connection((os.environ["MYSQL_HOSTNAME"], 3306), 10)
        self.file = self.link.makefile("rb")
        hello = self.read()
        at = hello.index(0, 1) + 5
        salt = hello[at:at + 8] + hello[at + 27:at + 39]
        secret = sha(os.environ["MYSQL_PASSWORD"].encode())
        token = bytes(a ^ b for a, b in zip(secret, sha(salt, sha(secret))))
        head = struct.pack("<IIB23x", 0x88208, 1 << 24, 45)
        words = os.environ["MYSQL_USERNAME"].encode() + b"\\0\\x14" + token + os.environ["MYSQL_DATABASE"].encode()
        self.send(1, head + words + b"\\0mysql_native_password\\0")
        self.read()

    def send(self, number, payload):
        self.link.sendall(struct.pack("<I", len(payload))[:3] + bytes([number]) + payload)

    def read(self):
        head = self.file.read(4)
        payload = self.file.read(int.from_bytes(head[:3], "little"))
        assert payload[0] != 255, payload
        return payload

    def query(self, text):
        self.send(0, b"\\3" + text.encode())
        if self.read()[0] == 0:
            return ""
        self.read(), self.read()  # the one column, and where columns end
        row = self.read()
        return row[1:].decode()
"""
PAGE = """
import http.server, os
from client import Client

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            client = Client()
            client.query("CREATE TABLE IF NOT EXISTS words (id INT AUTO_INCREMENT PRIMARY KEY, word TEXT)")
            if self.path != "/":  # octo's own question
                client.query(f"INSERT INTO words (word) VALUES ('{self.path[1:]}')")
            data, code = client.query("SELECT GROUP_CONCAT(word ORDER BY id SEPARATOR ' ') FROM words").encode(), 200
        except Exception as error:
            data, code = repr(error).encode(), 490
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
"""
KNOCK = """
import os, socket
for name in os.environ["NAMES"].split():
    try:
        socket.create_connection((name, 3306), 2)
        print("open", name)
    except OSError:
        print("closed")
"""


def shop() -> dict[str, str]:
    dockerfile = f'{apps.BASE}COPY *.py ./\nEXPOSE 5000\nCMD ["python3", "page.py"]\n'
    return {"Dockerfile": dockerfile, "page.py": PAGE, "client.py": CLIENT}


@pytest.fixture
def plugin(host: Host, app: str) -> Iterator[None]:
    """The plugin as it is installed, with the base image that is here; nothing may be left of what it made."""
    folder = host.home / "octo" / "plugins" / "mysql"
    shutil.copytree(CHECKOUT / "examples" / "plugins" / "mysql", folder)
    (folder / "env").write_text(f"OCTO={CHECKOUT / 'bin' / 'octo'}\nMYSQL_BASE=octo/stack\n")
    yield
    for each in (f"{app}_mysql", f"{app}_mysql_data"):
        host.octo("apps:destroy", each, "--confirm", each, "--volumes", code=None)
    shutil.rmtree(folder)


@pytest.mark.row("L40")
@pytest.mark.usefixtures("plugin")
def test_an_app_has_a_mysql_server_of_its_own_whose_data_outlives_it(host: Host, app: str, repository: Make) -> None:
    server, data = f"{app}_mysql", f"{app}_mysql_data"
    assert "octo mysql:create NAME" in host.octo("help")
    assert f'cannot find the app "{app}"' in host.octo("mysql:create", app, code=20)
    host.octo("apps:create", app)
    made = host.octo("mysql:create", app)
    assert made.splitlines() == [
        f"Making {data}.",
        f"Making {server}.",
        f"Waiting for {server} to answer.",
        f"Telling {app} where its database is.",
        f"Done: the database {app.replace('-', '_')} is at mysql:3306, see octo config {app}.",
    ]
    repository(shop()).push()
    assert host.get(app, "/bread") == (200, "bread")

    before = host.json("releases", app)
    assert host.octo("mysql:create", app) == made
    assert host.json("releases", app) == before and len(host.json("releases", server)) == 1
    host.octo("ps:restart", server)
    assert "alive" in host.octo("run", "-a", server, "--", "mariadb-admin --wait=60 ping")
    assert host.get(app, "/milk") == (200, "bread milk")
    knock_from_another_app(host, f"{app[:40]}-b", server)

    secret = host.octo("config:get", f"{app}/MYSQL_PASSWORD").strip()
    assert len(secret) == 40 and secret not in made + host.log()
    assert "The data stays" in host.octo("mysql:delete", app)
    assert not set(KEYS) & host.json("config", "-a", app).keys()
    assert host.octo("apps:info", server, code=20) and host.json("apps:allow", app) == []
    assert [v["app"] for v in host.json("volumes") if v["app"] == data] == [data]
    assert "Removing the data" in host.octo("mysql:delete", app, "--data")
    assert [v["app"] for v in host.json("volumes") if v["app"] == data] == []
    again = host.octo("mysql:delete", app, "--data")
    assert again == f"Taking its keys and its link from {app}.\nThere is no data of {app}.\n"


@pytest.mark.row("L40")
@pytest.mark.usefixtures("plugin")
def test_what_the_plugin_did_not_make_it_leaves_alone(host: Host, app: str) -> None:
    server = f"{app}_mysql"
    host.octo("apps:create", app)
    host.octo("apps:create", server)
    for words in (("mysql:create", app), ("mysql:delete", app, "--data")):
        assert f'cannot use "{server}"' in host.octo(*words, code=2)
    host.octo("apps:destroy", server, "--confirm", server)
    host.octo("config:set", "-a", app, "LINK_SERVICE=redis; mysql elsewhere")
    assert 'its link "mysql" leads elsewhere' in host.octo("mysql:create", app, code=2)
    host.octo("mysql:delete", app)
    assert host.octo("config:get", f"{app}/LINK_SERVICE").strip() == "redis; mysql elsewhere"
    for wrong in ("../x", "-x", "a b", "x;y", ""):
        assert f'cannot use "{wrong}" as the name of an app' in host.octo("mysql:create", wrong, code=2)
    host.octo("apps:destroy", app, "--confirm", app)


def knock_from_another_app(host: Host, other: str, server: str) -> None:
    """By the alias, by its name, and by every address that its container has."""
    addresses = addresses_of(host, server)
    assert addresses
    knock = {"Dockerfile": f'{apps.BASE}# NO_HTTP_PROXY\nCOPY knock.py ./\nCMD ["sleep", "1000"]\n', "knock.py": KNOCK}
    Repository(host, other, knock).push()
    names = " ".join(("mysql", server, *addresses))
    said = host.octo("run", "-a", other, "--", f"NAMES='{names}' python3 knock.py")
    host.octo("apps:destroy", other, "--confirm", other)
    assert said.split() == ["closed"] * (2 + len(addresses))


def addresses_of(host: Host, server: str) -> list[str]:
    container = next(name for name in host.containers() if f"-{server}-" in name)
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    argv = ["docker", "inspect", "--format", form, container]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
