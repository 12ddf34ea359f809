"""Builds that mean harm, all at once, while the visitors of twenty other apps keep coming."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.apps import SERVER
from tests.apps import buildpacks as apps
from tests.stories.conftest import serving
from tests.stories.host import Host, Repository
from tests.stories.load import Visitors

APPS = 20
VISITED = 2  # of them, without a pause
LIMITS = {
    "OCTO_BUILD_MEMORY_MB": "300",
    "OCTO_BUILD_PIDS": "100",
    "OCTO_BUILD_DISK_MB": "200",
    "OCTO_BUILD_OUTPUT_MB": "1",
}
# Each does its worst to the end of the build; the first one ends when there is no room for more.
FORKS = """
import os
first = os.getpid()
while True:
    try:
        os.fork()
    except OSError:
        os.getpid() != first or os._exit(9)
"""
HARM = {
    "forks": (f"python3 -c '{FORKS}'", "processes and threads at once, the limit"),
    "memory": ("python3 -c 'x = bytearray(600 << 20); print(len(x))'", "ran out of memory (limit 300 MB)"),
    "disk": ("head -c 400M /dev/zero >/app/big", "its disk is full"),
    "output": ("yes", "printed more than 1 MB"),
}


@pytest.fixture(scope="module", params=["lxc"])
def street(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with twenty small apps that mean well."""
    with serving(OCTO_SANDBOX=request.param, **LIMITS) as made:
        files = {"Procfile": "web: python3 server.py\n", "server.py": SERVER}
        for number in range(APPS):
            Repository(made, f"good-{number}", {**files, "greeting.txt": f"good-{number}\n"}).push()
        yield made


@pytest.mark.row("C1")
@pytest.mark.row("C4")
@pytest.mark.row("C14")
def test_twenty_apps_serve_on_while_four_builds_do_their_worst(
    street: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    free = os.statvfs(street.home)
    clones = {kind: Repository(street, f"evil-{kind}", apps.hostile(script)) for kind, (script, _) in HARM.items()}
    with ExitStack() as coming:
        guests = [
            coming.enter_context(Visitors(street.http_port, f"good-{n}.localhost", expect=f"good-{n} v1").coming())
            for n in range(VISITED)
        ]
        pushes = {kind: clone.start_push() for kind, clone in clones.items()}
        said = {kind: push.communicate()[0] for kind, push in pushes.items()}
        answers = [street.get(f"good-{n}") for n in range(APPS)]
    with capsys.disabled():
        print(
            f"\nbeside four hostile builds: {[len(s.failures) for s in guests]} of {[s.served for s in guests]} failed"
        )
    for kind, (_, words) in HARM.items():
        assert pushes[kind].returncode == 1 and words in said[kind], said[kind][-2000:]
    assert [s.failures for s in guests] == [[]] * VISITED
    assert min(s.served for s in guests) > 100
    assert answers == [(200, f"good-{n} v1 ") for n in range(APPS)]
    for kind in HARM:
        street.octo("apps:destroy", f"evil-{kind}", "--confirm", f"evil-{kind}")
    street.idle()
    assert not street.left_over()
    assert len(street.containers()) == APPS
    assert {r["version"] for n in range(APPS) for r in street.json("releases", "-a", f"good-{n}")} == {1}
    left = os.statvfs(street.home)
    assert (free.f_bavail - left.f_bavail) * free.f_frsize < 1 << 30
