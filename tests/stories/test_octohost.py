"""octohost's commands against the real octod: its own settings file, another host's config, logs elsewhere."""

import getpass
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import apps
from tests.stories.conftest import Name, serving, store
from tests.stories.host import CHECKOUT, PATH, Host, Repository
from tests.stories.test_openssh import Sshd

TALKATIVE = apps.command('["sh", "-c", "echo spoken; exec python3 -m http.server $PORT"]', more="EXPOSE 5000\n")
OCTOHOSTS = "BUILD_ORG_NAME=us\nOWN=1\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("etc") / "octohost"
    made.write_text(OCTOHOSTS)
    return made


@pytest.fixture(scope="module")
def yard(file: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    with serving(OCTO_OCTOHOST_FILE=str(file), **store(request)) as made:
        yield made


def serve(yard: Host, app: str, word: str = "hello") -> Repository:
    clone = Repository(yard, app, apps.web(word))
    clone.push()
    return clone


@pytest.mark.row("H1")
def test_doctor_shows_what_was_taken_of_octohosts_file_and_nothing_of_it_was_run(yard: Host, file: Path) -> None:
    file.write_text(f'{OCTOHOSTS}PUBLIC_IP=$(touch {file.parent}/run)\nDOMAIN_SUFFIX="$PUBLIC_IP.xip.io"\n')
    found = {f["check"]: f for f in json.loads(yard.octo("doctor", "--format", "json", code=None))}["octohost's file"]
    file.write_text(OCTOHOSTS)
    assert "taken: BUILD_ORG_NAME" in found["detail"] and "kept: OWN" in found["detail"]
    assert "not run, so not taken: DOMAIN_SUFFIX, PUBLIC_IP" in found["detail"] and not found["ok"]
    assert not (file.parent / "run").exists()


@pytest.mark.row("L4")
@pytest.mark.row("L5")
@pytest.mark.row("L7")
@pytest.mark.row("L8")
@pytest.mark.row("L1")
def test_an_app_is_reloaded_killed_stopped_and_removed(yard: Host, names: Name) -> None:
    app = names("shop")
    serve(yard, app)
    assert yard.octo("status") == f"{app}: OK\n"
    yard.octo("config:set", f"{app}/WORD", "kept", "--no-restart")
    assert yard.octo("reload", app).endswith(f"=====> Reloaded {app}: v2 is live.\n")
    yard.idle()
    assert yard.get(app) == (200, "hello v2 kept")
    before = yard.containers()
    assert len(before) == 1
    argv = ["docker", "inspect", "--format", "{{.Id}}", before[0]]
    id = subprocess.run(argv, capture_output=True, text=True, check=True).stdout[:12]
    assert yard.octo("kill", app, id).startswith(f"Killed {before[0]}.")
    yard.idle()
    assert yard.get(app) == (200, "hello v2 kept") and yard.containers() != before
    yard.octo("config:set", f"{app}/NO_HTTP_PROXY", "1")
    assert yard.octo("status") == "" and yard.octo("status", "--all") == f"{app}: OK\n"
    yard.octo("config:rm", f"{app}/NO_HTTP_PROXY")
    yard.octo("stop", app)
    yard.idle()
    assert yard.containers() == [] and yard.octo("status") == f"{app}: STOPPED\n"
    assert yard.octo("remove", app).startswith(f"Removed the source for {app}.\n")
    assert yard.get(app)[0] == 404 and yard.octo("apps", "--format", "names") == ""
    yard.octo("apps:create", app)
    assert yard.octo("config", app) == f"/{app}/WORD:kept\n"


@pytest.mark.row("L42")
def test_info_shows_domains_containers_and_source(yard: Host, names: Name) -> None:
    app = names("shop")
    commit = serve(yard, app).git("rev-parse", "main").strip()
    yard.octo("domains:add", app, f"www.{app}.test")
    yard.octo("ps:scale", app, "web=2")
    said = dict(line.split(": ", 1) for line in yard.octo("info", app).splitlines())
    told = {key: value.strip() for key, value in said.items()}
    assert told["domains"] == f"{app}.localhost, www.{app}.test"
    assert (told["containers"], told["commit"]) == ("2", commit)
    assert told["source"].endswith(f"/{app}.git")
    found = yard.json("info", app)
    assert found["containers"] == 2 and found["source"] == {"git_url": found["git_url"], "commit": commit}


@pytest.mark.row("L2")
def test_clean_takes_nothing_from_an_app_that_serves(yard: Host, names: Name) -> None:
    app = names("shop")
    serve(yard, app)
    said = yard.octo("clean").splitlines()
    assert said[:2] == ["Cleaning old exited containers.", "No exited containers to delete."]
    assert "Cleaning out all unused images." in said and any(line.endswith("(running)") for line in said)
    assert yard.get(app) == (200, "hello v1 ")


@pytest.mark.row("T12")
def test_every_command_is_logged_and_no_value_is_in_the_log_or_in_ps(yard: Host, names: Name) -> None:
    app = names("shop")
    serve(yard, app)
    argv = [CHECKOUT / "bin" / "octo", "config:set", "-a", app, "K=hunter2secret"]
    seen = []
    with subprocess.Popen(argv, env=yard.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as client:
        for _ in client.stdout or ():  # it deploys meanwhile
            processes = [p for p in Path("/proc").iterdir() if p.name.isdigit() and int(p.name) != client.pid]
            seen += [line for p in processes if b"hunter2secret" in (line := cmdline(p))]
    assert client.returncode == 0 and seen == []
    yard.ssh("config:set", "-a", app, "--no-restart", "K=hunter2secret")
    yard.ssh("run", "-a", app, "--", "echo hunter2secret")
    log = yard.log()
    for line in (f"the operator runs config:set of {app}", f"ann runs config:set of {app}", f"ann runs run of {app}"):
        assert line in log
    assert "hunter2" not in log


def cmdline(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


@pytest.fixture(scope="module")
def other(yard: Host) -> Iterator[Sshd]:
    """Another host's sshd, where `octo config:export` is a program that prints what the test wrote."""
    made = Sshd(yard)
    public = Path(f"{yard.key}.pub").read_text()
    (made.folder / "keys").write_text(f'command="cat {made.folder}/export",restrict {public}')
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def root_knows(other: Sshd, yard: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Root's ssh has the key and knows the host: by lines of its own in root's files, taken out again."""
    folder = Path.home() / ".ssh"
    there = folder.exists()
    folder.mkdir(mode=0o700, exist_ok=True)
    config, kept = folder / "config", None
    kept = config.read_bytes() if config.exists() else None
    host_key = (other.folder / "host.pub").read_text()
    (other.folder / "known").write_text(f"[127.0.0.1]:{other.port} {host_key}")
    own = f'Match host 127.0.0.1 exec "test %p = {other.port}"\n  IdentityFile {yard.key}\n'
    config.write_text(f"{own}  UserKnownHostsFile {other.folder}/known\n")
    yield
    if kept is None:
        config.unlink()
    else:
        config.write_bytes(kept)
    if not there:
        folder.rmdir()


@pytest.mark.row("L31")
def test_another_hosts_config_is_fetched_and_read_and_no_shell_sees_it(
    yard: Host, names: Name, other: Sshd, root_knows: None
) -> None:
    app, witness = names("shop"), other.folder / "witness"
    yard.octo("apps:create", app)
    export = other.folder / "export"
    words = ["move:config", "127.0.0.1", getpass.getuser(), "--port", str(other.port)]
    export.write_text(f"octo config:set {app}/A 'one $(touch {witness})'\ntouch {witness}\n")
    assert "cannot read line 2" in yard.octo(*words, code=1) and yard.octo("config", app).startswith("There is no")
    evil = f"one $(touch {witness}) `touch {witness}`"
    export.write_text(f"octo config:set {app}/A '{evil}'\nocto config:set {app}/B 'x\ny'\n")
    said = yard.octo(*words)
    assert "## Done moving the config from 127.0.0.1. ##\n" + export.read_text() in said
    assert yard.json("config", app) == {"A": evil, "B": "x\ny"}
    assert not witness.exists()
    assert yard.ssh(*words).returncode == 1  # the operator's alone


@pytest.mark.row("L31")
@pytest.mark.parametrize(
    "words", [["-oProxyCommand=id"], ["127.0.0.1", "-l"], ["a b"], ["127.0.0.1", "$(id)"], ["h;id"]]
)
def test_a_host_that_is_an_option_or_a_command_is_refused(yard: Host, words: list[str]) -> None:
    assert "cannot" in yard.octo("move:config", "--", *words, code=2)


@pytest.mark.row("L31")
def test_a_host_that_root_does_not_know_is_not_trusted(yard: Host, other: Sshd) -> None:
    said = yard.octo("move:config", "127.0.0.1", "root", "--port", str(other.port), code=1)
    assert "cannot fetch the config of 127.0.0.1: " in said and "octo config:export" in said


@pytest.mark.row("L33")
@pytest.mark.row("L34")
@pytest.mark.row("T13")
def test_logs_of_apps_nginx_and_files_reach_a_syslog_elsewhere(yard: Host, names: Name, file: Path) -> None:
    app, before = names("shop"), file.read_text()
    need = "Need to define REMOTE_SYSLOG_PORT in /etc/default/octohost"
    assert need in yard.octo("logs", "octostart", code=1) + yard.octo("logs", "start", "/x", "/x", code=1)
    no_target = "No LOGSPOUT_TARGET in /etc/default/octohost - not starting."
    assert no_target in yard.octo("logspout", "start", code=1)
    shipped = file.parent / "own.log"
    shipped.write_text("old\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as remote, socket.create_server(("127.0.0.1", 0)) as spout:
        remote.bind(("127.0.0.1", 0))
        port, other = remote.getsockname()[1], spout.getsockname()[1]
        file.write_text(
            f"{before}REMOTE_SYSLOG_PORT={port}\nREMOTE_SYSLOG_DESTINATION=127.0.0.1\n"
            f"LOGSPOUT_TARGET=syslog+tcp://127.0.0.1:{other}\n"
        )
        try:
            for words in (["logs", "octostart"], ["logs", "start", str(shipped), "/own.log"], ["logspout", "start"]):
                yard.octo(*words)
            Repository(yard, app, TALKATIVE).push()
            assert yard.get(app)[0] == 200
            with shipped.open("a") as log:
                log.write("mine\n")
            expected = (f" {app} web.1 - - spoken", " nginx - - - ", " /own.log - - - mine")
            assert received(remote, expected) == set(expected)
            spout.settimeout(60)
            connection, _ = spout.accept()
            connection.settimeout(60)
            with connection, connection.makefile() as lines:
                assert any(f" {app} web.1 - - spoken" in line for line in lines)
            assert "There is nothing to pull" in yard.octo("logspout", "pull")
        finally:
            for words in (["logs", "octostop"], ["logs", "stop", str(shipped)], ["logspout", "stop"]):
                yard.octo(*words)
            file.write_text(before)
    assert yard.ssh("logspout", "stop").returncode == 1  # the operator's alone


def received(remote: socket.socket, expected: tuple[str, ...]) -> set[str]:
    """Those that came."""
    remote.settimeout(60)
    found: set[str] = set()
    while found != set(expected):
        line = remote.recv(10_000).decode()
        assert line.startswith("<14>1 ")
        found |= {part for part in expected if part in line}
    return found


@pytest.mark.row("L35")
@pytest.mark.row("L36")
@pytest.mark.row("L37")
def test_version_update_and_the_resets_say_what_is_so(yard: Host) -> None:
    said = yard.octo("version")
    assert [line for line in said.splitlines() if line.startswith("==== ")] == [
        "==== octo version ====",
        "==== docker version ====",
        "==== consul version ====",
    ]
    assert "\nDocker " in said and ("SQLite" in said or "\nConsul " in said)
    source = yard.octo("update", code=1)
    assert f"It lies in {CHECKOUT}." in source and "pull --ff-only" in source and "hash" in source
    assert "--yes" in yard.octo("docker:reset_key", code=2)
    assert "/etc/docker/key.json" in yard.octo("docker:reset_key", "--yes", code=1)
    assert "--yes" in yard.octo("consul:reset", code=2)


def test_the_tool_of_the_shell_is_there_without_octod(tmp_path: Path) -> None:
    environment = {"PATH": PATH, "OCTO_SOCKET": str(tmp_path / "none")}
    argv = [CHECKOUT / "bin" / "octo", "completion", "bash"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and "complete -F _octo octo" in done.stdout
