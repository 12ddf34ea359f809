"""The bench's arithmetic and its table."""

import socket
import threading

import pytest

from bench import bare, harm, trace
from bench.pushes import Timed
from bench.table import Goal, Row, markdown, raw, table


def test_the_ratio_is_that_of_the_medians() -> None:
    assert Row("a push", [30, 10, 20], [5, 1000, 10]).ratio == 2


def test_the_pairwise_ratio_outlives_a_burst_of_load() -> None:
    # Half of the rounds ran on a machine ten times as busy: the medians are of different rounds, the pairs are not.
    row = Row("a push", [20, 20, 200, 200], [10, 10, 100, 100])
    assert row.paired == 2


def test_samples_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        _ = Row("a push", [1, 2], [1]).paired


@pytest.mark.parametrize(
    ("goal", "octo", "by_hand", "verdict"),
    [
        (Goal(), [1000.0], [1.0], ""),
        (Goal(ratio=1.3), [13.0], [10.0], "ok"),
        (Goal(ratio=1.3), [14.0], [10.0], "over"),
        (Goal(most=60), [60.0], [], "ok"),
        (Goal(most=60), [60.1], [], "over"),
        (Goal(ratio=3, most=30), [29.0], [10.0], "ok"),
        (Goal(ratio=3, most=30), [31.0], [20.0], "over"),
        (Goal(ratio=3, most=30), [29.0], [9.0], "over"),
        (Goal(ratio=3), [29.0], [], "over"),
    ],
)
def test_a_row_is_over_when_any_part_of_its_goal_is_missed(
    goal: Goal, octo: list[float], by_hand: list[float], verdict: str
) -> None:
    assert Row("a push", octo, by_hand, goal).verdict == verdict


def test_the_table_is_markdown_with_aligned_columns() -> None:
    push = Row("push", [1234.4], [1000], Goal(ratio=1.3))
    memory = Row("memory", [41.94], goal=Goal(most=60), unit="MB", digits=1)
    assert table([push, memory]).splitlines() == [
        "| what   |    octo | by hand |  ratio | pairwise |    goal |    |",
        "| :----- | ------: | ------: | -----: | -------: | ------: | -: |",
        "| push   | 1234 ms | 1000 ms | 1.23 x |   1.23 x | ≤ 1.3 x | ok |",
        "| memory | 41.9 MB |       - |      - |        - | ≤ 60 MB | ok |",
    ]


def test_the_raw_samples_are_all_there() -> None:
    (found,) = raw([Row("push", [3, 1, 2], [1, 1, 1])])
    assert found["octo"] == [3, 1, 2]
    assert found["by_hand"] == [1, 1, 1]


def test_a_trace_lists_moments_in_their_order_with_the_time_between_them() -> None:
    samples = [{"build": 100.0, "start": 150.0, "only once": 1.0}, {"build": 120.0, "start": 190.0}]
    assert trace.show("octo", samples).splitlines()[2:] == [
        "| build |   110 |     110 |",
        "| start |   170 |      60 |",
    ]


def test_a_moment_is_where_its_line_came_first() -> None:
    push = Timed(
        began=100.0,
        returned=0.9,
        answered=0.8,
        visits=1,
        failed=0,
        lines=[
            (100.1, "23:00:01.1 pkt-line.c:80   packet:          push< 00 refs/heads/main"),
            (100.2, "remote: -----> Building from Dockerfile"),
            (100.3, "packet: sideband< -----> Building from Dockerfile"),
            (100.5, "remote:        built in 0.3 s"),
            (100.6, "remote:        built in 0.9 s"),
        ],
    )
    found = {name: round(ms) for name, ms in trace.of_pusher(push).items()}
    assert found == {
        "refs received": 100,
        "build begins": 200,
        "build told": 500,
        "VISITOR SEES IT": 800,
        "PUSH RETURNS": 900,
    }


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    lines = markdown(("a", "b"), [("long", "1"), ("x", "200")]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_a_phase_tells_its_percentiles_and_its_failures() -> None:
    seen = harm.Seen([float(n) for n in range(1, 101)], failed=3, seconds=10)
    assert round(seen.percentile(50)) == 50
    assert round(seen.percentile(99)) == 100
    assert "3 of 100 requests failed in 10 s" in seen.words()


def test_the_load_visits_every_host_and_counts_what_is_no_200() -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while len({*asked}) < 2:
                link, _ = server.accept()
                host = link.recv(1000).split(b"Host: ")[1].split(b"\r\n")[0]
                link.sendall(b"HTTP/1.1 200 OK\r\n\r\n" if host == b"good" else b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
                link.close()
                asked.append(host)
            server.close()  # who comes now is turned away at once

        served = threading.Thread(target=serve)
        served.start()
        with harm.load(server.getsockname()[1], ["good", "bad"]) as seen:
            served.join()
    assert {*asked} == {b"good", b"bad"}
    assert seen.failed >= 1 and len(seen.took) > seen.failed


def test_the_policy_in_the_words_of_lxc_names_every_call_of_octos_list() -> None:
    lines = list(bare.policy())
    assert "read" in lines and "mount errno 1" in lines and "clone3 errno 38" in lines
    assert "clone allow [0,2114060288,SCMP_CMP_MASKED_EQ,0]" in lines
