"""Magic comments and config keys become values, or a refusal that says where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo import options
from octo.errors import BuildFailed, OctoError, Usage
from octo.options import allowance, containers, effective, from_config, from_dockerfile, memory_limit
from octo.runoptions import ANY, PLAIN, HostPort, Link, Mount, RunOptions

OCTOHOST = """\
FROM octo/stack
# ADD_NAME
#   volumes_from
# Link_Service redis
# LINK_SERVICE db shop-postgres
# MOUNT_FROM_HOST /srv/photos
# MOUNT_FROM_HOST /srv/in/ /app/in
# PORTS_FROM_HOST 25 2525
# PORTS_FROM_HOST 53 5353/tcp 10.0.0.5
# NO_HTTP_PROXY because it speaks SMTP
# LINK_SERVICES are explained elsewhere
RUN echo "# MOUNT_FROM_HOST /"
  # MOUNT_FROM_HOST /indented
"""


@pytest.mark.row("D5")
def test_every_magic_comment_is_read_in_any_case_and_as_often_as_it_stands() -> None:
    assert from_dockerfile(OCTOHOST) == RunOptions(
        add_name=True,
        volumes_from=True,
        no_http_proxy=True,
        links=(Link("redis"), Link("db", "shop-postgres")),
        mounts=(Mount("/srv/photos", "/srv/photos"), Mount("/srv/in", "/app/in")),
        ports=(HostPort(25, 2525, ANY), HostPort(53, 5353, "10.0.0.5")),
    )
    assert from_dockerfile("FROM octo/stack\n# nothing of it\n") == PLAIN


BAD = [
    "LINK_SERVICE",
    "LINK_SERVICE a b c",
    "LINK_SERVICE Redis",
    "LINK_SERVICE redis ../shop",
    "LINK_SERVICE redis$(id)",
    "LINK_SERVICE re.dis",
    "LINK_SERVICE -redis",
    "MOUNT_FROM_HOST",
    "MOUNT_FROM_HOST /",
    "MOUNT_FROM_HOST //",
    "MOUNT_FROM_HOST srv",
    "MOUNT_FROM_HOST ../x",
    "MOUNT_FROM_HOST /srv/../etc",
    "MOUNT_FROM_HOST /srv/./x",
    "MOUNT_FROM_HOST //srv",
    "MOUNT_FROM_HOST /srv:/etc",
    "MOUNT_FROM_HOST /srv /x,readonly=false",
    "MOUNT_FROM_HOST /srv /x --privileged",
    "MOUNT_FROM_HOST /" + "a" * 2000,
    "PORTS_FROM_HOST",
    "PORTS_FROM_HOST 25",
    "PORTS_FROM_HOST 0 25",
    "PORTS_FROM_HOST 65536 25",
    "PORTS_FROM_HOST 25 025",
    "PORTS_FROM_HOST 53 53/udp",
    "PORTS_FROM_HOST 25 25 localhost",
    "PORTS_FROM_HOST 25 25 ::1",
    "PORTS_FROM_HOST 25-30 25",
    "PORTS_FROM_HOST $(id) 25",
]


@pytest.mark.row("D5")
@pytest.mark.parametrize("text", BAD, ids=lambda t: t[:40])
def test_wrong_arguments_are_refused_with_the_line_or_the_key(text: str) -> None:
    with pytest.raises(BuildFailed, match="cannot take line 2 of the Dockerfile: cannot ") as refused:
        from_dockerfile(f"FROM octo/stack\n# {text}\n")
    assert refused.value.hint and len(refused.value.message) < 250
    key, _, value = text.partition(" ")
    if value:
        with pytest.raises(Usage, match=f"cannot use the config key {key}: cannot "):
            from_config({key: value})


@pytest.mark.parametrize(
    "lines",
    [
        ("LINK_SERVICE db one", "LINK_SERVICE db two"),
        ("PORTS_FROM_HOST 25 25", "PORTS_FROM_HOST 25 26"),
        ("MOUNT_FROM_HOST /a /x", "MOUNT_FROM_HOST /b /x"),
    ],
)
def test_a_name_a_path_and_a_port_lead_to_one_place(lines: tuple[str, str]) -> None:
    with pytest.raises(BuildFailed, match=r"line 2 .* asked for twice"):
        from_dockerfile("\n".join(f"# {line}" for line in lines))
    assert from_dockerfile(f"# {lines[0]}\n# {lines[0]}") == from_dockerfile(f"# {lines[0]}")


def test_nobody_asks_for_things_without_end() -> None:
    with pytest.raises(BuildFailed, match="line 33"):
        from_dockerfile("\n".join(f"# PORTS_FROM_HOST {n} 80" for n in range(1, 99)))


@given(st.text(max_size=200))
def test_no_text_of_a_dockerfile_does_harm(text: str) -> None:
    for line in (text, f"# LINK_SERVICE {text}", f"# MOUNT_FROM_HOST {text}", f"# PORTS_FROM_HOST {text}"):
        try:
            found = from_dockerfile(line)
        except OctoError:
            continue
        assert all(m.host.startswith("/") and ".." not in m.host.split("/") for m in found.mounts)


@pytest.mark.row("D5", "H6")
def test_config_keys_count_where_the_dockerfile_says_nothing() -> None:
    config = {"LINK_SERVICE": "redis; db shop-postgres\ncache", "NO_HTTP_PROXY": "1", "PORTS_FROM_HOST": "25 2525"}
    found = effective(RunOptions(ports=(HostPort(80, 8080),)), config)
    assert found.links == (Link("redis"), Link("db", "shop-postgres"), Link("cache"))
    assert (found.no_http_proxy, found.add_name, found.ports) == (True, False, (HostPort(80, 8080),))
    assert effective(PLAIN, {"NO_HTTP_PROXY": "", "LINK_SERVICE": " ; \n"}) == PLAIN


@pytest.mark.row("I12")
@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("512m", 512 << 20),
        ("512M", 512 << 20),
        ("1g", 1 << 30),
        ("1.5GiB", 3 << 29),
        ("64mb", 64 << 20),
        ("65536k", 64 << 20),
        ("67108864", 64 << 20),
        ("67108864b", 64 << 20),
        (" 6m ", 6 << 20),
        ("", None),
    ],
)
def test_memory_is_read_as_docker_reads_it(text: str, limit: int | None) -> None:
    assert memory_limit({"MEMORY_LIMIT": text}) == limit
    assert memory_limit({}) is None


@pytest.mark.row("I12")
@pytest.mark.parametrize(
    "text",
    ["5m", "0", "-1", "-512m", "512 potatoes", "1e9", "0x10", "512mm", "9" * 19, "9999999t", "१g", "1;id"],
)
def test_what_is_no_memory_limit_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="MEMORY_LIMIT"):
        memory_limit({"MEMORY_LIMIT": text})


@pytest.mark.row("I3")
def test_containers_is_a_number_or_not_set() -> None:
    assert [containers({"CONTAINERS": text}) for text in ("3", " 0 ", "")] == [3, 0, None]
    assert containers({}) is None
    for text in ("-1", "101", "two", "1.5", "٣"):
        with pytest.raises(Usage, match="CONTAINERS"):
            containers({"CONTAINERS": text})


@pytest.mark.parametrize(
    ("text", "word"),
    [("mount=/srv/photos/", "mount=/srv/photos"), ("port=25", "port=25"), ("link=shop_redis", "link=shop_redis")],
)
def test_an_allowance_has_one_spelling(text: str, word: str) -> None:
    assert allowance(text) == word


@pytest.mark.parametrize(
    "text",
    ["", "mount", "mount=", "mount=/", "mount=srv", "mount=/a/../b", "port=0", "port=x", "link=A", "all=1", "port"],
)
def test_what_is_no_allowance_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        allowance(text)


def test_names_of_data_apps_are_known() -> None:
    assert options.is_data("shop_redis_data") and not options.is_data("_data") and not options.is_data("data")
