"""Templates and https by config, in effect at once; a fault is its app's alone."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests import apps
from tests.contract.test_router_tls import pair
from tests.stories.host import Host, Repository

Make = Callable[[Mapping[str, str]], Repository]

TEMPLATE = """server {
    include listen.conf;
    server_name {{ domains }};
    location = /own { return 200 "{{ name }} {{ config.WORD }}"; }
    include locations.conf;
}
"""


def put(host: Host, name: str, text: str) -> Path:
    file = host.home / "octo" / "templates" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.row("J7")
@pytest.mark.row("J8")
@pytest.mark.row("L19")
@pytest.mark.row("L20")
def test_an_app_gets_a_template_by_config_and_its_faults_stay_its_own(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("one"))
    clone.push()
    file = put(host, f"{app}.conf", TEMPLATE)
    host.octo("config:set", app, "WORD=hello", f"NGINX_ALT=/etc/octohost/templates/{app}.conf")
    assert (host.get(app, "/own"), host.get(app)) == ((200, f"{app} hello"), (200, "one v2 hello"))
    refused = host.octo("config:set", app, "WORD=a; } server {", code=1)
    assert "line 4" in refused and host.get(app, "/own") == (200, f"{app} hello")
    assert "no template's name" in host.octo("config:set", app, "NGINX_ALT=../octo.toml", code=2)
    assert "there is none of that name" in host.octo("config:set", app, "NGINX_ALT=octo.toml", code=1)

    file.write_text(TEMPLATE.replace("location =", "bogus on; location ="))
    said = host.octo("config:consul_template", app, code=1)
    assert 'line 4, "bogus on; location' in said and 'nginx says: [emerg] unknown directive "bogus"' in said
    assert host.get(app, "/own") == (200, f"{app} hello")
    assert f"FAIL template or certificate of {app}:" in host.octo("doctor", code=1)
    assert "Rendered" in (every := host.octo("config:proxy", code=1)) and "unknown directive" in every
    clone.commit({"greeting.txt": "two\n"})
    assert 'unknown directive "bogus"' in clone.push(code=1)
    host.octo("ps:restart", app)  # what runs can be mended all the same
    assert host.get(app) == (200, "one v2 hello")
    beside = Repository(host, f"beside-{app[-4:]}", apps.web("beside"))
    beside.push()
    assert host.get(beside.app) == (200, "beside v1 ")
    host.octo("apps:destroy", beside.app, "--confirm", beside.app)

    file.write_text(TEMPLATE.replace("/own", "/mended"))
    assert host.octo("config:consul_template_render", app) == f"Rendered {app}; nginx reloaded and proved.\n"
    assert host.get(app, "/mended") == (200, f"{app} hello")
    assert "nginx reloaded and proved.\n" in host.octo("config:proxy")
    host.octo("config:unset", app, "NGINX_ALT")
    assert host.get(app, "/mended")[1].startswith("one")
    file.unlink()


@pytest.mark.row("L19")
def test_rendering_all_is_the_operators(host: Host) -> None:
    assert host.ssh("config:proxy").returncode == 1


@pytest.mark.row("H6")
@pytest.mark.row("J8")
def test_https_is_forced_and_certified_by_config_at_once(
    host: Host, app: str, repository: Make, tmp_path: Path
) -> None:
    repository(apps.web("one")).push()
    zone = f"www.{app}.test"
    host.octo("domains:add", app, zone)
    host.octo("config:set", f"{app}/SSL_FORCED", "1")
    assert host.get(zone, "/x")[0] == 301 and host.get(app)[0] == 301
    certificate, key = pair(tmp_path, zone)
    wrong, other = pair(tmp_path, "blog.test", stem="wrong")
    half = host.octo("config:set", "-a", app, f"SSL_CERTIFICATE={certificate.read_text()}")
    assert "count together, and one of them is not set" in half
    refused = host.octo("config:set", f"{app}/SSL_KEY", other.read_text(), code=1)
    assert "its key is another one's, they do not match" in refused and "PRIVATE KEY" not in refused
    host.octo("config:set", f"{app}/SSL_KEY", key.read_text())
    url = f"https://{zone}:{host.https_port}/headers"
    argv = ["curl", "-sS", "--noproxy", "*", "--cacert", str(certificate)]
    argv += ["--resolve", f"{zone}:{host.https_port}:127.0.0.1", url]
    seen = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "X-Forwarded-Proto: https" in seen and f"X-Forwarded-Port: {host.https_port}" in seen
    assert "lies in no folder" in host.octo("config:set", app, f"SSL_CERTIFICATE={wrong}", f"SSL_KEY={other}", code=1)
    host.octo("config:unset", app, "SSL_FORCED")
    assert host.get(zone)[0] == 200
