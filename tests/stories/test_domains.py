"""Domains as octohost's users know them: the CNAME file, lists, the config key, what is refused."""

import json
import os
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests import apps
from tests.stories.host import Host, Repository

Make = Callable[[Mapping[str, str]], Repository]


@pytest.fixture
def zone() -> str:
    """A domain that no other story has."""
    return f"z{os.urandom(3).hex()}.test"


@pytest.fixture
def other(host: Host, app: str) -> Iterator[str]:
    """An app beside."""
    name = f"other-{app[-4:]}"
    host.octo("apps:create", name)
    yield name
    host.octo("apps:destroy", name, "--confirm", name)


def domains(host: Host, app: str) -> str:
    return host.octo("domains:get", app).strip()


@pytest.mark.row("J4")
@pytest.mark.row("L22")
def test_the_domains_of_a_cname_file_come_and_go_with_the_commit(
    host: Host, app: str, repository: Make, zone: str
) -> None:
    clone = repository(apps.web("one") | {"CNAME": f"# ours\nwww.{zone}\n\nOld.{zone}\n"})
    said = clone.push()
    assert f"Adding http://www.{zone}:{host.http_port}" in said
    assert f"and at: http://www.{zone}:{host.http_port}" in said
    assert domains(host, app) == f"old.{zone} www.{zone}"
    assert host.octo("domains", app).count(", by the CNAME file\n") == 2
    host.octo("domains:add", app, f"own.{zone}")
    clone.commit({"CNAME": f"www.{zone}\nnew.{zone}\n", "server.py": "raise SystemExit(3)\n"})
    clone.push(code=1)
    assert domains(host, app) == f"old.{zone} own.{zone} www.{zone}"  # what failed has changed nothing
    assert [host.get(f"{name}.{zone}")[0] for name in ("old", "new", "own")] == [200, 404, 200]
    clone.commit({"server.py": apps.SERVER})
    clone.push()
    assert domains(host, app) == f"new.{zone} own.{zone} www.{zone}"
    assert [host.get(f"{name}.{zone}")[0] for name in ("old", "new", "own", "www")] == [404, 200, 200, 200]


@pytest.mark.row("J4")
@pytest.mark.row("J5")
def test_a_cname_file_that_cannot_be_is_refused_before_the_build(
    host: Host, app: str, other: str, repository: Make, zone: str
) -> None:
    """Holes 7 and 11: a domain of another app, and what is no domain, named by line."""
    host.octo("domains:add", other, f"www.{zone}")
    clone = repository(apps.web("one") | {"CNAME": f"a.{zone}\nwww.{zone}\n"})
    said = clone.push(code=1)
    assert f'cannot use the CNAME file: line 2, "www.{zone}": the app "{other}" has it' in said
    clone.commit({"CNAME": "a; } server {\n"})
    assert 'cannot use the CNAME file: line 1, "a; } server {", is no domain' in clone.push(code=1)
    clone.commit({"CNAME": f"{other}.localhost\n"})
    assert "names under localhost belong to the apps of that name" in clone.push(code=1)
    (clone.folder / "CNAME").unlink()
    (clone.folder / "CNAME").symlink_to("/etc/passwd")
    clone.commit({})
    assert "CNAME is not a regular file" in clone.push(code=1)
    assert "Building from Dockerfile" not in said and host.json("builds", "-a", app) == []
    assert (domains(host, app), domains(host, other)) == ("", f"www.{zone}")


@pytest.mark.row("J5")
@pytest.mark.row("L21")
@pytest.mark.row("L22")
def test_a_list_is_set_by_command_and_by_config(host: Host, app: str, other: str, repository: Make, zone: str) -> None:
    repository(apps.web("one")).push()
    assert host.octo("domains:set", app, f"b.{zone},a.{zone},b.{zone}") == f"Set a.{zone} b.{zone} for {app}.\n"
    assert host.octo("domains:get", app) == f"a.{zone} b.{zone}\n"
    assert host.octo("config:get", f"{app}/DOMAINS") == f"a.{zone} b.{zone}\n"
    refused = host.octo("domains:set", other, f"c.{zone} a.{zone}", code=1)
    assert refused == f' !     cannot add the domain "a.{zone}": the app "{app}" has it\n'
    host.octo("config:set", f"{app}/DOMAINS", f"c.{zone} a.{zone}")
    assert host.octo("domains:get", app) == f"a.{zone} c.{zone}\n"
    assert [host.get(f"{name}.{zone}")[0] for name in "abc"] == [200, 404, 200]
    assert len(host.json("releases", "-a", app)) == 1  # no container has to know
    assert "the app" in host.octo("config:set", f"{other}/DOMAINS", f"a.{zone}", code=1)
    assert "as a domain" in host.octo("config:set", f"{app}/DOMAINS", "a; } server {", code=2)
    host.octo("domains:set", app, "")
    assert (host.octo("domains:get", app), host.get(f"a.{zone}")[0]) == ("", 404)


def test_the_operator_alone_takes_a_domain_from_an_app(
    host: Host, app: str, other: str, repository: Make, zone: str
) -> None:
    repository(apps.web("one")).push()
    host.octo("domains:add", other, f"www.{zone}")
    refused = host.ssh("domains:add", "--take", app, f"www.{zone}")
    assert (refused.returncode, "only the operator may" in refused.stderr) == (1, True)
    host.octo("domains:add", "--take", app, f"www.{zone}")
    assert (domains(host, app), domains(host, other)) == (f"www.{zone}", "")
    assert host.get(f"www.{zone}") == (200, "one v1 ")
    assert json.loads(host.octo("domains:get", app, "--format", "json")) == [f"www.{zone}"]
