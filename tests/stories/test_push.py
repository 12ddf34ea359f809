"""A push becomes a served page, or is refused and changes nothing."""

import subprocess
from collections.abc import Callable, Mapping

import pytest

from tests import apps
from tests.stories.host import Host, Repository

Make = Callable[[Mapping[str, str]], Repository]


@pytest.mark.row("A1")
@pytest.mark.row("B1")
@pytest.mark.row("D1")
@pytest.mark.row("E12")
@pytest.mark.row("J6")
@pytest.mark.row("T11")
def test_a_push_is_built_and_served_and_the_ref_moves(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("hello"))
    said = clone.push()
    assert "-----> Building from Dockerfile" in said
    assert (
        "-----> Launching... done, v1" in said and f"http://{app}.localhost:{host.http_port} deployed to octo" in said
    )
    assert f"=====> Your site is available at: http://{app}.localhost:{host.http_port}" in said
    assert host.get(app) == (200, "hello v1 ")
    assert clone.remote_ref() == clone.git("rev-parse", "main").strip()


@pytest.mark.row("D2")
def test_an_image_has_a_name_for_its_app_and_its_build(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    (build,) = host.json("builds", "-a", app)
    name = f"{host.instance}/{host.json('apps:info', '-a', app)['id']}:{build['id']}"
    subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=True)


@pytest.mark.row("I6")
@pytest.mark.row("I7")
@pytest.mark.row("J11")
def test_a_second_push_replaces_the_first(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("one"))
    clone.push()
    clone.commit({"greeting.txt": "two\n"})
    assert "done, v2" in clone.push()
    assert host.get(app) == (200, "two v2 ")
    host.idle()
    assert len([n for n in host.containers() if f"-{app}-" in n]) == 1


@pytest.mark.row("B4")
@pytest.mark.row("D3")
@pytest.mark.row("T8")
def test_a_failing_build_refuses_the_push_and_the_old_release_goes_on(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("good"))
    clone.push()
    before = clone.remote_ref()
    clone.commit(apps.failing("RUN echo about to fail && exit 7"))
    said = clone.push(code=1)
    assert "about to fail" in said and "exit code 7" in said and "[remote rejected]" in said
    assert host.get(app) == (200, "good v1 ")
    assert clone.remote_ref() == before
    (build,) = [b for b in host.json("builds", "-a", app) if b["status"] == "failed"]
    assert "about to fail" in host.octo("builds:output", "-a", app, build["id"])


@pytest.mark.row("I2")
def test_an_app_that_never_answers_is_refused_with_where_it_listens(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("good"))
    clone.push()
    clone.commit(apps.web("bad", more="EXPOSE 5000\nENV BIND=127.0.0.1\n"))
    said = clone.push(code=1)
    assert "only on 127.0.0.1:5000" in said and "Listen on 0.0.0.0" in said
    assert host.get(app) == (200, "good v1 ")
    assert [r["status"] for r in host.json("releases", "-a", app)] == ["succeeded", "failed"]


def test_an_app_that_ends_is_refused_with_its_last_lines(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.command("echo no database; exit 3", more="EXPOSE 5000\n"))
    said = clone.push(code=1)
    assert "exit code 3" in said and "no database" in said
    assert host.get(app)[0] == 503


@pytest.mark.row("D1")
def test_without_a_dockerfile_the_push_is_refused(app: str, repository: Make) -> None:
    said = repository({"readme.txt": "hello\n"}).push(code=1)
    assert "There is no Dockerfile present." in said and "[remote rejected]" in said


@pytest.mark.row("B15")
def test_a_tag_is_kept_and_not_deployed(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("hello"))
    clone.git("tag", "v1")
    assert "Tags never deploy" in clone.push("v1")
    assert host.get(app)[0] == 503 and not host.json("builds", "-a", app)
    assert clone.remote_ref("refs/tags/v1")


@pytest.mark.row("B15")
def test_the_branch_that_runs_cannot_be_deleted(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("hello"))
    clone.push()
    assert "cannot delete main branch" in clone.push(":main", code=1)
    assert clone.remote_ref() and host.get(app)[0] == 200


def test_two_branches_that_deploy_in_one_push_are_refused(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("hello"))
    assert "main and master" in clone.push("main", "main:master", code=1)
    assert host.get(app)[0] == 503


@pytest.mark.row("B13")
def test_what_was_pushed_can_be_cloned(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("hello"))
    clone.push()
    copy = host.home / f"copy-{app}"
    subprocess.run(
        ["git", "clone", "-q", host.url(app), str(copy)], env={**clone.environment()}, check=True, capture_output=True
    )
    assert (copy / "greeting.txt").read_text() == "hello\n"
    asked = subprocess.run(
        clone.argv("ls-remote", "octo"),
        env={**clone.environment(), "GIT_TRACE_PACKET": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 0 and "< version 2" in asked.stderr


@pytest.mark.row("I4")
def test_an_image_without_a_port_runs_as_a_worker(host: Host, app: str, repository: Make) -> None:
    said = repository(apps.command("exec sleep inf")).push()
    assert "Your container isn't available from the web." in said
    assert host.get(app)[0] == 404
    assert [d["state"] for d in host.json("ps", "-a", app)] == ["up"]


@pytest.mark.row("I4")
@pytest.mark.row("H7")
def test_no_http_proxy_takes_the_app_out_of_the_routing_and_back(host: Host, app: str, repository: Make) -> None:
    repository(apps.web("hello")).push()
    host.octo("config:set", "-a", app, "NO_HTTP_PROXY=1")
    assert host.get(app)[0] == 404
    host.octo("config:unset", "-a", app, "NO_HTTP_PROXY")
    assert host.get(app) == (200, "hello v3 ")


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    ("expose", "port"),
    [
        ("EXPOSE 7001\n", 7001),
        ("EXPOSE 7002/tcp 80\n", 7002),
        ("EXPOSE 53/udp 7003\n", 7003),
        ("EXPOSE 7004-7006\n", 7004),
        ("ARG P=7007\nEXPOSE $P\n", 7007),
        ("EXPOSE 9000\nEXPOSE 80\n", 9000),
    ],
)
def test_the_first_exposed_port_is_the_one(host: Host, app: str, repository: Make, expose: str, port: int) -> None:
    repository(apps.web("hello", more=expose)).push()
    assert f"\nPORT={port}\n" in "\n" + host.get(app, "/env")[1] + "\n"


@pytest.mark.row("I13")
@pytest.mark.row("D4")
def test_port_in_config_wins(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.web("hello", more=""))
    host.octo("apps:create", app)
    host.octo("config:set", "-a", app, "PORT=8123")
    clone.push()
    assert "PORT=8123" in host.get(app, "/env")[1]


@pytest.mark.row("E7")
@pytest.mark.row("I8")
def test_a_procfile_names_the_process_types(host: Host, app: str, repository: Make) -> None:
    clone = repository(
        {**apps.web("hello"), "Procfile": "web: python3 server.py\nworker: exec sleep inf\nrelease: echo migrated\n"}
    )
    assert "migrated" in clone.push()
    host.octo("ps:scale", "-a", app, "web=2", "worker=1")
    assert sorted(d["name"] for d in host.json("ps", "-a", app)) == ["web.1", "web.2", "worker.1"]


def test_a_release_command_that_fails_stops_the_deploy(host: Host, app: str, repository: Make) -> None:
    clone = repository({**apps.web("hello"), "Procfile": "web: python3 server.py\nrelease: echo no tables; exit 4\n"})
    said = clone.push(code=1)
    assert "no tables" in said and "exit code 4" in said and host.get(app)[0] == 503


def test_a_malformed_procfile_is_refused_with_its_line(app: str, repository: Make) -> None:
    said = repository({**apps.web("hello"), "Procfile": "web: x\nnonsense\n"}).push(code=1)
    assert "line 2" in said


@pytest.mark.parametrize("name", ["Procfile", "Dockerfile"])
def test_a_symlink_in_place_of_a_file_is_refused(app: str, repository: Make, name: str) -> None:
    clone = repository(apps.web("hello"))
    (clone.folder / name).unlink(missing_ok=True)
    (clone.folder / name).symlink_to("/etc/shadow")
    clone.commit({})
    said = clone.push(code=1)
    assert "not a regular file" in said and "root:" not in said


def test_escapes_of_a_build_do_not_reach_the_terminal(app: str, repository: Make) -> None:
    step = r"RUN printf '\033]0;owned\007\033[2J\033[31mred\033[0m plain\n'"
    said = repository(apps.failing(step)).push(code=1)
    assert "plain" in said and "\x1b]0;" not in said and "\x1b[2J" not in said and "\x07" not in said


def test_a_build_that_floods_is_ended_and_says_so(host: Host, app: str, repository: Make) -> None:
    said = repository(apps.failing("RUN yes 'a flood of output, line after line after line'")).push(code=1)
    assert "10 MB" in said and len(said) < 40_000_000
    host.idle()
    assert not host.left_over()


def test_the_same_commit_is_not_built_twice(host: Host, app: str, repository: Make) -> None:
    """A push whose end was lost: the release is live, the ref has not moved."""
    clone = repository(apps.web("hello"))
    clone.push()
    clone.git("push", "-q", "octo", "main:refs/tags/other")
    clone.commit({"greeting.txt": "two\n"})
    clone.push()
    assert "Already live as v2" in clone.push("main:master")
    assert host.get(app) == (200, "two v2 ")


@pytest.mark.row("A1")
@pytest.mark.parametrize("form", ["{app}", "{app}.git", "/{app}.git", "/{app}"])
def test_the_app_is_found_by_each_form_of_its_name(host: Host, app: str, repository: Make, form: str) -> None:
    clone = repository(apps.web("hello"))
    clone.push()
    asked = host.ssh(f"git-upload-pack '{form.format(app=app)}'", given="0000")
    assert asked.returncode == 0 and "refs/heads/main" in asked.stdout


@pytest.mark.row("A2")
@pytest.mark.row("T1")
def test_an_unknown_key_gets_nowhere(host: Host, app: str) -> None:
    stranger = host.new_key(f"stranger-{app}")
    asked = host.ssh("apps", key=stranger)
    assert asked.returncode == 255 and "Permission denied (publickey)" in asked.stderr


@pytest.mark.row("A4")
@pytest.mark.row("A5")
@pytest.mark.parametrize(
    "command",
    [
        "git-receive-pack '../x.git'",
        "git-receive-pack 'x.git';id",
        "scp -t /tmp",
        "bash",
        "git-receive-pack '$(id).git'",
    ],
)
def test_what_is_no_git_command_is_refused_and_makes_nothing(host: Host, command: str) -> None:
    before = host.json("apps")
    asked = host.ssh(command)
    assert asked.returncode != 0 and "uid=" not in asked.stdout + asked.stderr
    assert host.json("apps") == before
