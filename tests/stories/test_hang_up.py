"""A pusher who hangs up, at each stage of a push: nothing is left, and only what had begun to be deployed goes on."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping

from tests.apps import buildpacks as apps
from tests.stories.host import PATH, Host, Repository

Make = Callable[[Mapping[str, str]], Repository]
WAITS = "echo now it waits; exec sleep inf"
TO_DEPLOY = {"Procfile": "web: sleep 1; exec python3 -m http.server $PORT\n", "index.html": "served all the same\n"}


def until(push: "subprocess.Popen[str]", words: str) -> None:
    said = ""
    assert push.stdout
    for line in push.stdout:
        said += line
        if words in line:
            return
    raise AssertionError(f"{words!r} never came:\n{said}")


def hang_up(push: "subprocess.Popen[str]") -> None:
    os.killpg(push.pid, signal.SIGKILL)
    push.communicate()


def test_in_the_middle_of_the_pack_nothing_of_it_is_kept(host: Host, app: str, repository: Make) -> None:
    clone = repository({"one": "1"})
    head = clone.git("rev-parse", "HEAD").strip()
    host.octo("apps:create", app)
    argv = [*host.ssh_command().split(), "-p", str(host.ssh_port), "git@127.0.0.1", f"git-receive-pack '{app}.git'"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": PATH}) as ssh:
        assert ssh.stdin and ssh.stdout and ssh.stdout.read(4).isalnum()  # git is there, and says what it has
        line = f"{'0' * 40} {head} refs/heads/main\0 report-status".encode()
        ssh.stdin.write(b"%04x%s0000PACK\0\0\0\2\0\0\1\0" % (len(line) + 4, line) + b"x" * 1000)
        ssh.stdin.flush()
        ssh.kill()
    host.idle()
    assert not host.left_over() and host.json("builds", "-a", app) == []
    id = host.json("apps:info", "-a", app)["id"]
    assert not [f for f in (host.home / "octo/repos" / f"{id}.git/objects").rglob("*") if f.is_file()]


def test_in_the_queue_for_the_app_the_one_in_front_does_not_notice(host: Host, app: str, repository: Make) -> None:
    first = repository(apps.hostile(WAITS)).start_push()
    until(first, "now it waits")
    second = Repository(host, app, apps.static("second")).start_push()
    until(second, "Waiting: a push by ann")
    hang_up(second)
    assert first.poll() is None
    hang_up(first)
    host.idle()
    assert not host.left_over()
    assert [build["status"] for build in host.json("builds", "-a", app)] == ["abandoned"]


def test_once_it_is_being_deployed_the_release_comes_to_its_end(host: Host, app: str, repository: Make) -> None:
    clone = repository(TO_DEPLOY)
    push = clone.start_push()
    until(push, "Starting web.1")
    hang_up(push)
    host.idle()
    assert host.get(app) == (200, "served all the same\n") and not host.left_over()
    assert [release["status"] for release in host.json("releases", "-a", app)] == ["succeeded"]
    clone.push()  # which makes up for it when the branch could not move any more
    assert clone.remote_ref() == clone.git("rev-parse", "HEAD").strip()
