"""Not one request is dropped, whatever is done to the app or to octod meanwhile."""

import pytest

from tests import apps
from tests.stories.host import Host, Repository
from tests.stories.load import Visitors


@pytest.mark.row("I7")
@pytest.mark.row("I10")
@pytest.mark.row("J11")
@pytest.mark.row("L7")
def test_no_request_is_dropped_while_everything_changes(own_host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host, app = own_host, "shop"
    clone = Repository(host, app, apps.web("hello"))
    clone.push()
    with Visitors(host.http_port, f"{app}.localhost", expect="hello").coming() as seen:
        for number in range(3):
            clone.commit({"note.txt": f"{number}\n", "server.py": apps.SERVER + f"# {number}\n"})
            clone.push()
        host.octo("ps:scale", "-a", app, "web=3")
        host.octo("ps:scale", "-a", app, "web=1")
        host.octo("config:set", "-a", app, "WORD=changed")
        host.octo("rollback", "-a", app)
        host.octo("ps:restart", "-a", app)
        host.stop()
        host.start()
        host.kill()
        host.start()
        clone.commit({"server.py": apps.SERVER + "# last\n"})
        clone.push()
        host.octo("domains:add", "-a", app, "www.shop.test")
    with capsys.disabled():
        print(f"\nunder load: {len(seen.failures)} of {seen.served} requests failed, releases {sorted(seen.releases)}")
    assert seen.failures == []
    assert seen.served > 2000
    assert seen.releases >= {"v1", "v2", "v3", "v4", "v5", "v6", "v7"}
    host.idle()
    assert not host.left_over()
    assert len(host.containers()) == 1
