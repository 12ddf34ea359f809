"""kill -9 of octod at random moments: the page is served throughout, and nothing is left over."""

import os
import random
import signal
import subprocess
import threading

import pytest

from tests import apps
from tests.stories.host import Host, Repository
from tests.stories.load import Visitors

ROUNDS = int(os.environ.get("OCTO_TEST_KILLS", "12"))


def test_killed_at_random_moments_octo_mends_itself(own_host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """Each round pushes, or changes config, and kills octod somewhere in the middle; then one good push must do."""
    host, app = own_host, "shop"
    seed = int(os.environ.get("OCTO_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    chance = random.Random(seed)
    clone = Repository(host, app, apps.web("hello"))
    clone.push()
    with Visitors(host.http_port, f"{app}.localhost", expect="hello").coming() as seen:
        for number in range(ROUNDS):
            one_round(host, clone, app, chance, number, seed)
        clone.commit({"server.py": apps.SERVER + "# the last\n"})
        clone.push("-f", "main")
    with capsys.disabled():
        print(f"\nkilled {ROUNDS} times (seed {seed}): {len(seen.failures)} of {seen.served} requests failed")
    assert seen.failures == [], f"seed {seed}"
    host.idle()
    assert not host.left_over(), f"seed {seed}"
    assert clone.remote_ref() == clone.git("rev-parse", "main").strip()


def one_round(host: Host, clone: Repository, app: str, chance: random.Random, number: int, seed: int) -> None:
    after = chance.uniform(0, 1.3)  # seconds: a push takes about one
    killer = threading.Timer(after, host.kill)
    clone.commit({"server.py": apps.SERVER + f"# {number}\n"})
    killer.start()
    if number % 4 == 3:
        host.octo("config:set", "-a", app, f"WORD={number}", code=None)
    else:
        clone.push("-f", "main", code=None)
    killer.join()
    host.start()
    host.idle()
    note = f"round {number}, killed after {after:.3f} s, seed {seed}"
    assert not host.left_over(), note
    assert len(host.containers()) == 1, note
    live = next(r for r in host.json("releases", "-a", app) if r["current"])
    assert host.get(app)[1].split()[1] == f"v{live['version']}", note
    assert all(r["status"] != "pending" for r in host.json("releases", "-a", app)), note
    assert all(b["status"] != "pending" for b in host.json("builds", "-a", app)), note


def test_a_stop_lets_a_push_come_to_its_end(own_host: Host) -> None:
    host = own_host
    clone = Repository(host, "shop", apps.web("hello"))
    push = clone.start_push()
    assert push.stdout and host.daemon
    said = ""
    for line in push.stdout:
        said += line
        if "Starting web.1" in line:
            host.daemon.send_signal(signal.SIGTERM)
            break
    said += push.communicate()[0]
    assert push.returncode == 0 and "Your site is available at" in said, said
    assert host.daemon.wait() == 0
    assert host.get("shop") == (200, "hello v1 ")
    host.start()
    assert not host.left_over()


@pytest.mark.row("I11")
def test_after_a_reboot_all_apps_serve_again(own_host: Host) -> None:
    """A reboot ends octod, nginx and every container at once; the engine is told to bring the containers back."""
    host = own_host
    Repository(host, "shop", apps.web("hello")).push()
    host.octo("ps:scale", "-a", "shop", "web=2")
    host.idle()
    names = host.containers()
    policy = ["docker", "inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", *names]
    assert set(subprocess.check_output(policy, text=True).split()) == {"unless-stopped"}
    host.kill()
    master = int((host.home / "octo" / "nginx" / "run" / "nginx.pid").read_text())
    os.kill(master, signal.SIGKILL)
    subprocess.run(["docker", "kill", *names], check=True, capture_output=True)
    host.start()
    assert host.get("shop") == (200, "hello v1 ")
    host.idle()
    assert len(host.containers()) == 2 and not host.left_over()
