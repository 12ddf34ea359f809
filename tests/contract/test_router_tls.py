"""https: certificates of the apps and octo's own, forced https, as curl and openssl see it."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from octo.adapters.router_nginx import Own
from octo.adapters.router_nginx.certificates import covers
from octo.errors import RouterFailed
from octo.ports import Front, Route
from tests.contract.router_parts import Bench, bench, free_port, route

LOCAL = "127.0.0.1"


def pair(folder: Path, *names: str, days: int = 30, stem: str = "pair") -> tuple[Path, Path]:
    """A certificate and its key, by openssl."""
    certificate, key = folder / f"{stem}.crt", folder / f"{stem}.key"
    alternatives = ",".join(f"DNS:{name}" for name in names)
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    more = ["-addext", f"subjectAltName={alternatives}"] if names else []
    argv += ["-days", str(days), "-keyout", str(key), "-out", str(certificate), *more]
    subprocess.run(argv, check=True, capture_output=True)
    return certificate, key


@dataclass
class Yard:
    bench: Bench
    port: int  # of https
    folder: Path  # where certificates may lie

    def own(self) -> Own:
        return Own(self.folder, self.port, (self.folder,), ("octo.test",))

    def route(self, *, certificate: object = "", key: object = "", forced: bool = False, template: str = "") -> Route:
        made = route("shop", self.bench.app("shop")[0], hosts=("shop.octo.test", "www.shop.test"))
        return replace(made, front=Front(template, forced, certificate=str(certificate), key=str(key)))

    def curl(self, host: str, *more: str, ca: Path | None = None, path: str = "/") -> subprocess.CompletedProcess[str]:
        """ca: None trusts anybody."""
        port = str(self.port)
        argv = ["curl", "-sS", "--noproxy", "*", "--max-time", "20", "--resolve", f"{host}:{port}:{LOCAL}", *more]
        argv += ["--cacert", str(ca)] if ca else ["-k"]
        return subprocess.run([*argv, f"https://{host}:{port}{path}"], capture_output=True, text=True, check=False)

    def subject(self, host: str) -> str:
        """The names of the certificate that this name is shown."""
        ask = ["openssl", "s_client", "-connect", f"{LOCAL}:{self.port}", "-servername", host]
        shown = subprocess.run(ask, input="", capture_output=True, text=True, check=False).stdout
        read = ["openssl", "x509", "-noout", "-ext", "subjectAltName"]
        return subprocess.run(read, input=shown, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    folder, port = tmp_path / "certificates", free_port()
    folder.mkdir()
    own = Own(folder, port, (folder,), ("octo.test",))
    with bench(own=own) as made:
        made.router.start()
        yield Yard(made, port, folder)


@pytest.mark.row("J10")
def test_an_app_without_a_certificate_is_served_with_octos_own(yard: Yard) -> None:
    """Hole 14: generated here, never shipped; hole 34: the app learns how it was asked."""
    yard.bench.router.apply([yard.route()])
    done = yard.curl("shop.octo.test", ca=yard.bench.prefix / "default.pem")
    assert done.returncode == 0, done.stderr
    seen = {k.lower(): v for k, v in json.loads(done.stdout)["headers"]}
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("https", str(yard.port))
    assert (seen["host"], seen["x-forwarded-for"]) == (f"shop.octo.test:{yard.port}", LOCAL)
    assert "No such app" in yard.curl("nobody.localhost", "-H", "Accept: text/html").stdout


@pytest.mark.row("J8")
def test_an_app_is_served_with_its_own_certificate_for_the_names_that_it_is_for(yard: Yard) -> None:
    certificate, key = pair(yard.folder, "www.shop.test", "*.x.test")
    yard.bench.router.apply([yard.route(certificate=certificate, key=key)])
    done = yard.curl("www.shop.test", ca=certificate)
    assert done.returncode == 0, done.stderr
    assert "www.shop.test" in yard.subject("WWW.shop.test")
    assert "*.octo.test" in yard.subject("shop.octo.test")
    pem = yard.route(certificate=certificate.read_text(), key=key.read_text())
    certificate.unlink()
    assert yard.bench.router.apply([pem])
    assert "www.shop.test" in yard.subject("www.shop.test")


@pytest.mark.row("J8")
def test_forced_https_is_where_http_sends_people(yard: Yard) -> None:
    yard.bench.router.apply([yard.route(forced=True), route("blog", yard.bench.app("blog")[0])])
    answer = yard.bench.get("shop.octo.test", "/a%20b?q=1", method="POST")
    assert (answer.status, answer.headers["Location"]) == (301, f"https://shop.octo.test:{yard.port}/a%20b?q=1")
    assert yard.bench.get("blog.localhost").status == 200
    assert json.loads(yard.curl("shop.octo.test", path="/x").stdout)["path"] == "/x"


def test_a_template_of_its_own_gets_https_too(yard: Yard) -> None:
    certificate, key = pair(yard.folder, "www.shop.test")
    (yard.folder / "own.conf").write_text(
        "server {\n include listen.conf;\n server_name {{ domains }};\n ssl_certificate {{ tls.certificate }};\n"
        " ssl_certificate_key {{ tls.key }};\n add_header X-Tls {{ tls.port }} always;\n include locations.conf;\n}\n"
    )
    shop = yard.route(certificate=certificate, key=key, forced=True, template="own.conf")
    yard.bench.router.check(shop)
    yard.bench.router.apply([shop])
    done = yard.curl("www.shop.test", "-D", "-", ca=certificate)
    assert f"x-tls: {yard.port}" in done.stdout
    assert yard.bench.get("shop.octo.test").status == 301


def test_only_modern_tls_and_http2(yard: Yard) -> None:
    yard.bench.router.apply([yard.route()])
    told = yard.curl("shop.octo.test", "-o", "/dev/null", "-w", "%{http_version}").stdout
    assert told == "2"
    assert yard.curl("shop.octo.test", "--http1.1", "-o", "/dev/null", "-w", "%{http_version}").stdout == "1.1"
    old = yard.curl("shop.octo.test", "--tls-max", "1.1", "--tlsv1.0", "--ciphers", "ALL:@SECLEVEL=0")
    assert old.returncode == 35, old.stderr
    assert yard.curl("shop.octo.test", "--tls-max", "1.2").returncode == 0


def test_without_https_nobody_is_sent_there() -> None:
    with bench() as made:
        made.router.start()
        forced = replace(route("shop", made.app("shop")[0]), front=Front(forced=True))
        with pytest.raises(RouterFailed, match='cannot force https for "shop": this octo serves none'):
            made.router.check(forced)
        made.router.apply([forced])  # as after the setting was taken away
        assert made.get("shop.localhost").status == 200


def refused(yard: Yard, certificate: object, key: object) -> str:
    with pytest.raises(RouterFailed) as caught:
        yard.bench.router.check(yard.route(certificate=certificate, key=key))
    return caught.value.message


@pytest.mark.row("J8")
def test_what_is_no_pair_for_the_app_is_refused_before_anything_is_swapped(yard: Yard) -> None:
    good, key = pair(yard.folder, "www.shop.test")
    wrong, other = pair(yard.folder, "blog.test", stem="other")
    nameless, its = pair(yard.folder, stem="nameless")
    assert "its key is another one's" in refused(yard, good, other)
    assert "it is for blog.test, and none of the app's names (shop.octo.test, www.shop.test)" in refused(
        yard, wrong, other
    )
    assert "it is for no host name" in refused(yard, nameless, its)
    assert "SSL_CERTIFICATE is no certificate in PEM" in refused(yard, key, key)
    assert "SSL_KEY is no key in PEM" in refused(yard, good, good)
    assert "SSL_CERTIFICATE is no certificate" in refused(yard, "-----BEGIN nonsense", key)
    locked = yard.folder / "locked.key"
    argv = ["openssl", "ec", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(argv, check=True, capture_output=True)
    assert "its key asks for a password" in refused(yard, good, locked)
    yard.bench.router.check(yard.route(certificate=good))  # the key is on its way


@pytest.mark.row("J8")
def test_files_are_read_from_the_operators_folders_alone(yard: Yard, tmp_path: Path) -> None:
    """Hole 12, of certificates: what is read there is read as root."""
    good, key = pair(yard.folder, "www.shop.test")
    (yard.folder / "link").symlink_to(tmp_path / "away")
    (yard.folder / "inside").symlink_to(good)
    (tmp_path / "away").write_text(good.read_text())
    for place in ("/etc/passwd", "/nonexistent", yard.folder / "../away", yard.folder / "link", "../away"):
        assert "lies in no folder for certificates" in refused(yard, place, key)
    for place, why in ((yard.folder, "it is no file"), (yard.folder / "missing", "No such file")):
        assert why in refused(yard, place, key)
    yard.bench.router.check(yard.route(certificate="inside", key="pair.key"))


@pytest.mark.row("J8")
def test_a_certificate_that_was_spoilt_later_leaves_the_app_on_its_last_good_one(yard: Yard) -> None:
    certificate, key = pair(yard.folder, "www.shop.test")
    shop = yard.route(certificate=certificate, key=key)
    yard.bench.router.apply([shop])
    kept = certificate.read_text()
    certificate.write_text("spoilt")
    assert yard.bench.router.apply([shop, route("blog", yard.bench.app("blog")[0])])
    assert "www.shop.test" in yard.subject("www.shop.test")
    assert "no certificate in PEM" in yard.bench.router.faults()[shop.id]
    certificate.write_text(kept)
    yard.bench.router.apply([shop])
    assert not yard.bench.router.faults()
    fresh, _ = pair(yard.folder, "www.shop.test", "renewed.test")
    assert fresh == certificate
    assert yard.bench.router.apply([shop])  # a renewed file is taken up with the next table
    assert "renewed.test" in yard.subject("www.shop.test")


def test_a_certificate_that_ends_is_told(yard: Yard) -> None:
    certificate, key = pair(yard.folder, "www.shop.test", days=3)
    yard.bench.router.apply([yard.route(certificate=certificate, key=key)])
    (said,) = yard.bench.router.ending()
    assert said.startswith('the certificate of "shop" ends on 20')
    assert not yard.bench.router.problems()
    pair(yard.folder, "www.shop.test")
    yard.bench.router.apply([yard.route(certificate=certificate, key=key)])
    assert not yard.bench.router.ending()


def test_keys_are_open_to_nginx_alone_and_octos_own_is_made_once(yard: Yard) -> None:
    certificate, key = pair(yard.folder, "www.shop.test")
    shop = yard.route(certificate=certificate.read_text(), key=key.read_text())
    yard.bench.router.apply([shop])
    line = key.read_text().splitlines()[1].encode()
    holding = [f for f in yard.bench.prefix.rglob("*") if f.is_file() and line in f.read_bytes()]
    assert {f.name for f in holding} == {f"{shop.id}.pem", "routes.json"}
    own = yard.bench.prefix / "default.pem"
    assert not [f for f in (*holding, own) if f.stat().st_mode & 0o007]
    made = own.read_bytes()
    other = yard.bench.other(own=yard.own())
    other.start()
    assert own.read_bytes() == made
    yard.bench.other(own=replace(yard.own(), suffixes=("other.test",))).start()
    assert own.read_bytes() != made


def test_a_connection_of_https_counts_as_one(yard: Yard) -> None:
    target, gate = yard.bench.app("shop")
    yard.bench.router.apply([replace(yard.route(), targets=(target,))])
    argv = ["curl", "-skN", "--noproxy", "*", "--resolve", f"shop.octo.test:{yard.port}:{LOCAL}"]
    asking = subprocess.Popen([*argv, f"https://shop.octo.test:{yard.port}/events"], stdout=subprocess.PIPE)
    assert asking.stdout
    assert b"first" in asking.stdout.readline()
    assert yard.bench.router.connections([target]) == 1
    yard.bench.router.apply([yard.route()])
    assert yard.bench.router.connections([target]) == 1
    gate.set()
    assert b"second" in asking.communicate(timeout=20)[0]


@pytest.mark.parametrize(
    ("name", "host", "fits"),
    [
        *(("a.test", "a.test", True), ("*.a.test", "b.a.test", True), ("*.A.test", "b.a.test", True)),
        *(("*.a.test", "a.test", False), ("*.a.test", "c.b.a.test", False), ("b.a.test", "a.test", False)),
    ],
)
def test_a_wildcard_stands_for_one_label(name: str, host: str, *, fits: bool) -> None:
    assert covers(name, host) is fits
