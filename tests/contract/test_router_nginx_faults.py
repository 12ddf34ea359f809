"""nginx under faults: bad candidates, port clashes, ignored reloads, killed octods, many callers, load."""

import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from octo import process
from octo.adapters.router_nginx import master
from octo.adapters.router_nginx.trees import Trees
from octo.errors import RouterFailed
from octo.ports import Route
from tests.contract.router_parts import NOBODY, TEMPLATES, UID, Bench, Load, bench, eventually, route

CHECKOUT = TEMPLATES.parents[1]


@pytest.fixture
def made() -> Iterator[Bench]:
    with bench() as made:
        made.router.start()
        made.router.apply([route("shop", made.app("shop")[0])])
        yield made


def pid_of(made: Bench) -> int:
    return int((made.prefix / "run" / "nginx.pid").read_text())


def trees(made: Bench) -> list[str]:
    return sorted(tree.name for tree in (made.prefix / "trees").iterdir())


def reloads(made: Bench) -> int:
    return (made.prefix / "logs" / "error.log").read_text().count(": reconfiguring\n")


# --- a candidate that cannot serve


@pytest.mark.row("J6")
def test_a_broken_candidate_is_named_by_line_and_never_swapped_in(made: Bench, tmp_path: Path) -> None:
    broken = tmp_path / "templates"
    shutil.copytree(TEMPLATES, broken)
    template = broken / "upstreams.conf.j2"
    template.write_text("bogus;\n" + template.read_text())
    before, pid = trees(made), pid_of(made)
    with pytest.raises(RouterFailed, match=r'unknown directive "bogus" in .*/upstreams\.conf:1'):
        made.other(templates=broken).apply([])
    assert trees(made) == before
    assert reloads(made) == 1
    assert (made.get("shop.localhost").echo["app"], pid_of(made)) == ("shop", pid)
    assert made.router.problems() == []


@pytest.mark.row("J6")
def test_a_port_clash_at_reload_is_told_in_nginx_own_words_and_put_back(made: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        with pytest.raises(RouterFailed, match=rf"bind\(\) to 127.0.0.1:{port} failed \(98: .*") as caught:
            made.other(port=port).apply([route("shop", made.app("next")[0])])
        assert f"(pid {os.getpid()})" in caught.value.hint
    assert made.get("shop.localhost").echo["app"] == "shop"
    assert made.router.apply([route("shop", made.app("later")[0])]) is True
    assert made.get("shop.localhost").echo["app"] == "later"
    assert made.router.problems() == []


def test_a_port_clash_at_start_is_told_and_nothing_runs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter, bench(port=squatter.getsockname()[1]) as made:
        with pytest.raises(RouterFailed, match=r"cannot start nginx: .*bind\(\)"):
            made.router.start()
        problems = made.router.problems()
        assert problems[0] == "nginx is not running"
        assert f"(pid {os.getpid()})" in problems[1]


def test_a_reload_that_nginx_ignores_is_noticed_and_put_back(made: Bench) -> None:
    served, pid = trees(made)[-1], pid_of(made)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(RouterFailed, match="cannot prove nginx's reload"):
            made.other(patience=0.5).apply([])
    finally:
        os.kill(pid, signal.SIGCONT)
    assert os.readlink(made.prefix / "current") == f"trees/{served}"
    assert made.get("shop.localhost").echo["app"] == "shop"
    assert made.router.apply([route("shop", made.app("next")[0])])
    assert made.get("shop.localhost").echo["app"] == "next"


@pytest.mark.parametrize("again", ["apply", "start"])
def test_workers_whose_master_was_killed_are_replaced(made: Bench, again: str) -> None:
    """They hold the port and answer the marker, but nobody can tell them a new table."""
    os.kill(pid_of(made), signal.SIGKILL)
    if again == "start":
        made.router.start()
    assert made.router.apply([route("shop", made.app("next")[0])])
    assert made.get("shop.localhost").echo["app"] == "next"
    assert not made.router.problems()


def test_a_full_disk_leaves_the_old_table_serving(made: Bench) -> None:
    process.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=755", "tmpfs", str(made.prefix / "trees")])
    try:
        with pytest.raises(RouterFailed, match="cannot write nginx's configuration: No space left"):
            made.router.apply([])
    finally:
        process.run(["umount", str(made.prefix / "trees")])
    assert made.router.apply([route("shop", made.app("next")[0])])
    assert made.get("shop.localhost").echo["app"] == "next"


def test_old_trees_go_and_the_last_good_one_stays(made: Bench) -> None:
    for name in "abc":
        last = trees(made)[-1]
        made.router.apply([route(name)])
        assert len(trees(made)) == 2
        assert trees(made)[0] == last


# --- who runs it, and what survives


def test_no_process_of_it_is_root_and_its_configuration_is_not_its_own(made: Bench) -> None:
    pid = pid_of(made)
    workers = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    assert workers
    for one in (pid, *workers):
        status = Path(f"/proc/{one}/status").read_text()
        assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}" in status
        assert "CapEff:\t0000000000000400" in status  # ports below 1024, which an app may ask for any time
    for path in [made.prefix, *(made.prefix / "trees").rglob("*")]:
        assert path.stat().st_uid == 0
        assert path.stat().st_mode & 0o022 == 0


def test_a_port_below_1024_needs_one_capability_and_no_root() -> None:
    with bench(port=80, listen="127.0.77.1") as made:
        made.router.start()
        made.router.apply([])
        assert f"Uid:\t{UID}" in (status := Path(f"/proc/{pid_of(made)}/status").read_text())
        assert "CapEff:\t0000000000000400" in status
        with socket.create_connection(("127.0.77.1", 80)) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b" 404 " in client.recv(100)


def test_nginx_outlives_a_killed_octod_and_is_adopted() -> None:
    with bench() as made:
        table = [route("shop", made.app("shop")[0])]
        argv = [sys.executable, "-c", OCTOD, str(made.prefix), str(made.port), *table[0].targets]
        octod = process.spawn(argv, env={"PYTHONPATH": str(CHECKOUT)}, stdout=-1)
        assert octod.stdout
        assert octod.stdout.readline() == b"up\n"
        octod.kill()
        octod.wait()
        octod.stdout.close()
        pid = pid_of(made)
        assert made.get("shop.localhost").echo["app"] == "shop"
        made.router.start()
        assert made.router.apply(table) is False
        (made.prefix / "run" / "nginx.pid").unlink()
        made.other().start()
        assert made.router.apply([]) is True
        assert master.Master(made.prefix, ports=[made.port], user=UID).pid() == pid


OCTOD = """
import signal, sys
from pathlib import Path
from tests.contract.router_parts import nginx, route
router = nginx(Path(sys.argv[1]), port=int(sys.argv[2]))
router.start()
router.apply([route("shop", sys.argv[3])])
print("up", flush=True)
signal.pause()
"""


def test_a_killed_nginx_is_told_and_started_again_with_the_last_table(made: Bench) -> None:
    pid = pid_of(made)
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for one in (pid, *map(int, workers)):
        os.kill(one, signal.SIGKILL)
    assert eventually(lambda: "nginx is not running" in made.router.problems())
    made.other().start()
    assert made.get("shop.localhost").echo["app"] == "shop"


def test_a_pid_file_that_names_another_process_is_not_believed(made: Bench) -> None:
    made.router.stop()
    (made.prefix / "run" / "nginx.pid").write_text(f"{os.getpid()}\n")
    made.router.stop()
    made.router.start()
    assert made.get("shop.localhost").echo["app"] == "shop"


def test_an_octod_killed_between_swap_and_reload_is_healed_by_the_next_start(made: Bench) -> None:
    all_trees = Trees(made.prefix, group=UID)
    served = all_trees.current()
    assert served
    made.router.apply([route("shop", made.app("next")[0])])
    all_trees.point(served)  # as if this one had been swapped in and nginx never told
    assert "nginx serves another table than the last one that was applied" in made.router.problems()
    made.other().start()
    assert made.get("shop.localhost").echo["app"] == "shop"
    assert made.router.problems() == []


def test_a_damaged_tree_is_written_again(made: Bench) -> None:
    (made.prefix / "current" / "upstreams.conf").write_text("")
    assert "shop" in (made.prefix / "current" / "routes.json").read_text()
    made.other().start()
    assert "server 127.0.0.1" in (made.prefix / "current" / "upstreams.conf").read_text()
    assert made.get("shop.localhost").echo["app"] == "shop"


# --- many


def test_a_thousand_apps_and_ten_thousand_hosts_are_routed(made: Bench) -> None:
    target, _ = made.app("last")
    longest = ".".join(["h" * 63] * 3 + ["h" * 58, "io"])
    table = [Route(f"app{n}", f"{n:012x}", (f"app{n}.localhost",), (NOBODY,)) for n in range(1000)]
    table.append(Route("last", "f" * 12, (longest, *(f"h{n}.example.com" for n in range(10_000))), (target,)))
    made.router.apply(table)
    assert len(longest) == 253
    for host in (longest, "h0.example.com", "h9999.example.com"):
        assert made.get(host).echo["app"] == "last"
    assert made.get("app999.localhost").status == 502


def test_calls_that_wait_share_one_reload_and_the_newest_table_wins(made: Bench) -> None:
    tables = [[route("shop", made.app(f"v{n}")[0])] for n in range(8)]
    before, offered, pid = reloads(made), made.router.offered, pid_of(made)
    os.kill(pid, signal.SIGSTOP)  # holds the first call in its proof until all are there
    with ThreadPoolExecutor(8) as pool:
        calls = []
        for number, table in enumerate(tables, 1):
            calls.append(pool.submit(made.router.apply, table))
            assert eventually(lambda: made.router.offered == offered + number)  # noqa: B023
        os.kill(pid, signal.SIGCONT)
        assert all(call.result() for call in calls)
    assert reloads(made) == before + 2
    assert made.get("shop.localhost").echo["app"] == "v7"


@pytest.mark.row("J11")
def test_no_request_fails_while_twenty_tables_take_turns(made: Bench) -> None:
    targets = {name: made.app(name)[0] for name in ("blue", "green")}
    made.router.apply([route("shop", targets["green"])])
    since, load = made.router.mark(), Load(made)
    workers = [threading.Thread(target=load.fresh, args=(m,)) for m in ("GET", "POST")]
    workers += [threading.Thread(target=load.kept) for _ in range(2)]
    for worker in workers:
        worker.start()
    for turn in range(20):
        name = ("blue", "green")[turn % 2]
        assert made.router.apply([route("shop", targets[name], release=turn)])
        assert made.get("shop.localhost").echo["app"] == name
    load.done.set()
    for worker in workers:
        worker.join()
    assert load.failures == []
    assert len(load.seen) > 500
    assert made.router.tally(route("shop").id, since).failed == 0
