"""Apps without a Dockerfile, from the push to the page."""

import io
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.apps import buildpacks as apps
from tests.stories.host import CHECKOUT, PATH, Host, Repository

Make = Callable[[Mapping[str, str]], Repository]


def seconds(said: str) -> float:
    """How long the compile step took, as the pusher reads it."""
    found = re.search(r"ompiled in ([0-9.]+) s", said)
    assert found, said
    return float(found[1])


def greeting(argv: list[str], env: Mapping[str, str]) -> bytes:
    """What the slug that the command writes would greet with."""
    done = subprocess.run(argv, env=env, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as slug:
        (member,) = [m for m in slug if m.name.removeprefix("./") == "app/greeting.txt"]
        file = slug.extractfile(member)
        assert file
        return file.read()


def slugs_are_found_by_what_was_pushed(host: Host, app: str, one: str, two: str) -> None:
    """one, two: the commits of main that greet so; two serves."""
    octo = [str(CHECKOUT / "bin" / "octo"), "builds:download"]
    ssh = [*host.ssh_command().split(), "-p", str(host.ssh_port), "git@127.0.0.1", "builds:download", "--raw"]
    builds = host.json("builds", app)
    assert [b["ref"] for b in builds] == ["main", "main"]
    assert builds[0]["slug"]["name"] == f"ann/{app}/main/{one}" and builds[0]["slug"]["size"] > 100_000
    assert " main " in host.octo("builds", app) and "MB" in host.octo("builds", app)
    for word in (f"main@{one}", one[:10], "v1", builds[0]["id"]):
        assert greeting([*octo, app, word], host.env) == b"one\n"
    assert greeting([*octo, f"ann/{app}/main/{one}"], host.env) == b"one\n"
    for words in ([app], [app, "main"], ["-a", app, f"main@{two}"]):
        assert greeting([*octo, *words], host.env) == b"two\n"
    assert greeting([*ssh, app, "main@v1"], {"PATH": PATH}) == b"one\n"


@pytest.mark.row("E2")
@pytest.mark.row("E4")
@pytest.mark.row("E5")
@pytest.mark.row("E10")
@pytest.mark.row("E12")
@pytest.mark.row("F5")
def test_a_flask_app_is_built_and_the_second_push_uses_the_cache(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.flask("one"))
    first = clone.push()
    assert "-----> Python app detected" in first and "Procfile declares types -> web" in first
    assert re.search(r"-----> Compiled slug size is [0-9.]+ ?MB", first)
    assert "-----> Launching... done, v1" in first and "Your site is available at" in first
    assert host.get(app) == (200, "one v1 ")
    one, two = clone.git("rev-parse", "main").strip(), clone.commit({"greeting.txt": "two\n"})
    second = clone.push()
    assert host.get(app) == (200, "two v2 ")
    assert seconds(second) < seconds(first) / 2, (first, second)
    slugs_are_found_by_what_was_pushed(host, app, one, two)


@pytest.mark.row("E6")
@pytest.mark.row("E7")
def test_an_express_app_is_built_and_started_by_its_default(host: Host, app: str, repository: Make) -> None:
    said = repository(apps.express()).push()
    assert "-----> Node.js app detected" in said and "Default types for Node.js -> web" in said
    assert host.get(app)[1].startswith("express v1")


def test_a_folder_of_pages_is_served(host: Host, app: str, repository: Make) -> None:
    said = repository(apps.static("hello")).push()
    assert "app detected" in said
    assert host.get(app) == (200, "<h1>hello</h1>\n")
    assert host.get(app, "/deep/") == (200, "deep\n")
    assert host.get(app, "/style.css")[0] == 200
    assert host.get(app, "/nothing")[0] == 404
    assert host.get(app, "/../../etc/passwd")[0] in (400, 404)
    assert host.json("apps:info", app)["stack"] == {"name": "octo"} and re.search(
        r"stack: +octo\n", host.octo("info", app)
    )


def test_a_worker_runs_and_is_not_routed(host: Host, app: str, repository: Make) -> None:
    said = repository(apps.worker()).push()
    assert "Procfile declares types -> worker" in said and "isn't available from the web" in said
    assert "working" in host.octo("logs", "-a", app)
    host.octo("ps:scale", "-a", app, "worker=2")
    assert len([n for n in host.containers() if f"-{app}-" in n and "worker" in n]) == 2


def test_a_monorepo_is_built_by_two_buildpacks(host: Host, app: str, repository: Make) -> None:
    said = repository(apps.monorepo()).push()
    assert said.index("Node.js") < said.index("Python")
    assert host.get(app)[1].startswith("mono v1")
    assert host.get(app, "/front")[1].startswith("made by node v")


@pytest.mark.row("E3")
@pytest.mark.row("D1")
def test_without_anything_that_fits_the_push_is_refused(host: Host, app: str, repository: Make) -> None:
    said = repository({"notes.txt": "nothing to run"}).push(code=1)
    assert "-----> Unable to select a buildpack" in said and "There is no Dockerfile present." in said
    assert "[remote rejected]" in said


@pytest.mark.row("E4")
def test_a_failing_compile_refuses_the_push_and_the_old_release_goes_on(host: Host, app: str, repository: Make) -> None:
    clone = repository(apps.flask("good"))
    clone.push()
    clone.commit({"requirements.txt": "no-such-package-of-this-name-at-all\n"})
    assert "[remote rejected]" in clone.push(code=1)
    assert host.get(app) == (200, "good v1 ")


@pytest.mark.row("E6")
def test_config_reaches_the_build_by_files_and_the_start_by_profile(host: Host, app: str, repository: Make) -> None:
    """.profile.d is sourced before the app's command."""
    files = {
        "Procfile": 'web: echo "$FROM_PROFILE" >index.html && exec python3 -m http.server $PORT\n',
        ".profile.d/mine.sh": "export FROM_PROFILE=yes-$WORD\n",
    }
    clone = repository(files)
    host.octo("apps:create", app)
    host.octo("config:set", "-a", app, "WORD=spoken", "--no-restart")
    clone.push()
    assert host.get(app)[1] == "yes-spoken\n"


def test_an_app_runs_as_nobody_special_and_may_write_its_own_folder(host: Host, app: str, repository: Make) -> None:
    repository({"Procfile": "web: id -un >index.html; exec python3 -m http.server $PORT\n"}).push()
    assert host.get(app)[1] == "app\n"
    said = host.octo("run", "-a", app, "--", "sh", "-c", "touch mine && id -u && cat /proc/1/status | grep NoNewPrivs")
    assert "59205" in said and "1" in said.split("NoNewPrivs:")[1]


@pytest.fixture
def git_server(own_host: Host) -> Iterator[str]:
    """The address of a git server beside octo, on a network of its own that builds are allowed to reach."""
    name, network = f"{own_host.instance}-git", f"{own_host.instance}-outside"
    subprocess.run(["docker", "network", "create", network], capture_output=True, check=True)
    script = (
        "mkdir -p /tmp/pack && cd /tmp/pack && cp -r /pack/. . && chmod +x bin/* && git init -q -b main"
        " && git add -A && git -c user.name=a -c user.email=a@b.c commit -qm one && git tag v1"
        " && sed -i s/Mine/Newer/ bin/detect && git -c user.name=a -c user.email=a@b.c commit -qam two"
        " && exec git daemon --export-all --base-path=/tmp --reuseaddr"
    )
    folder = own_host.home / "pack"
    for file, text in apps.buildpack().items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    run = ["docker", "run", "-d", "--name", name, "--network", network, "-v", f"{folder}:/pack:ro", "octo/stack"]
    subprocess.run([*run, "bash", "-c", script], capture_output=True, check=True)
    try:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        inspect = ["docker", "inspect", "-f", form, name]
        yield subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()
    finally:
        subprocess.run(["docker", "rm", "-f", "-v", name], capture_output=True, check=True)
        subprocess.run(["docker", "network", "rm", network], capture_output=True, check=True)


@pytest.mark.row("E1")
def test_a_buildpack_of_ones_own_comes_from_a_git_server(own_host: Host, git_server: str) -> None:
    own_host.stop()
    own_host.env |= {
        "OCTO_PLAIN_FETCH": "yes",
        "OCTO_BUILD_PORTS": "80,443,9418",
        "OCTO_BUILD_REACH": f"{git_server}/32",
    }
    own_host.start()
    own_host.octo("apps:create", "shop")
    own_host.octo("config:set", "-a", "shop", f"BUILDPACK_URL=git://{git_server}/pack#v1", "WORD=word", "--no-restart")
    clone = Repository(own_host, "shop", {"index.html": "from the repository"})
    said = clone.push()
    assert "Fetching custom git buildpack... done" in said and "-----> Mine app detected" in said
    assert "       word is word" in said
    assert own_host.get("shop")[1] == "made\n"
    own_host.octo("config:set", "-a", "shop", f"BUILDPACK_URL=git://{git_server}/pack", "--no-restart")
    clone.commit({"more": "more"})
    assert "-----> Newer app detected" in clone.push()
    own_host.octo("config:set", "-a", "shop", f"BUILDPACK_URL=git://{git_server}/none", "--no-restart")
    clone.commit({"more": "yet more"})
    refused = clone.push(code=1)
    assert "Fetching custom git buildpack... failed" in refused and "[remote rejected]" in refused
    assert own_host.get("shop")[1] == "made\n"
