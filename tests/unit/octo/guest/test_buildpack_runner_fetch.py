"""Buildpacks from elsewhere: BUILDPACK_URL and .buildpacks, fetched from real servers, and what is refused."""

import tarfile
from pathlib import Path

import pytest

from tests.unit.octo.guest.git_parts import commit, file_server, git, git_server, repository, silent_server
from tests.unit.octo.guest.runner_parts import Place

RELEASE = "#!/bin/sh\nprintf 'default_process_types:\\n  web: %s\\n' ./custom\n"
MINE = {
    "bin/detect": "#!/bin/sh\necho Mine\n",
    "bin/compile": '#!/bin/sh\necho "mine at work"\necho one >"$1/made"\n',
    "bin/release": RELEASE,
}


@pytest.mark.row("E1")
def test_a_custom_buildpack_wins_over_those_that_detect(here: Place, tmp_path: Path) -> None:
    here.buildpack("python", detect="echo Python", compile="echo wrong")
    repository(tmp_path / "heroku-buildpack-mine", MINE)
    with git_server(tmp_path) as url:
        built = here.build({"a": b""}, buildpacks=[f"{url}/heroku-buildpack-mine"], insecure_fetch=True)
    assert built.code == 0, built.said
    lines = built.said.splitlines()
    assert lines[0].startswith("-----> Fetching custom git buildpack... done (")
    assert lines[1:3] == ["-----> Mine app detected", "       mine at work"]
    assert built.result["processes"] == {"web": "./custom"}
    assert "app/made" in built.members()
    assert not (here.root / "work/buildpacks/1/.git").exists()


@pytest.mark.row("E1")
def test_what_follows_the_hash_is_a_branch_a_tag_or_a_commit(here: Place, tmp_path: Path) -> None:
    there = tmp_path / "bp"
    first = repository(there, MINE)
    git(there, "tag", "-a", "v1", "-m", "one")
    git(there, "branch", "old/style")
    commit(there, {"bin/compile": "#!/bin/sh\necho newest\n"})
    with git_server(tmp_path) as url:
        for ref, said in (
            ("", "newest"),
            *((r, "mine at work") for r in ("#v1", "#old/style", f"#{first}", f"#{first[:9]}")),
        ):
            built = here.build({"a": b""}, buildpacks=[f"{url}/bp{ref}"], insecure_fetch=True)
            assert f"       {said}\n" in built.said, (ref, built.said)


@pytest.mark.row("E1")
@pytest.mark.parametrize("folder", ["", "bp-1.0/"])
def test_a_buildpack_may_be_an_archive_with_or_without_a_folder_around_it(
    here: Place, tmp_path: Path, folder: str
) -> None:
    repository(tmp_path / "bp", MINE)
    with tarfile.open(tmp_path / "bp.tgz", "w:gz") as archive:
        archive.add(tmp_path / "bp/bin", folder + "bin")
    with file_server(tmp_path) as url:
        built = here.build({"a": b""}, buildpacks=[f"{url}/bp.tgz"], insecure_fetch=True)
        missing = here.build({"a": b""}, buildpacks=[f"{url}/none.tar.gz"], insecure_fetch=True)
    assert "-----> Fetching custom tar buildpack... done (" in built.said
    assert built.code == 0 and "app/made" in built.members()
    assert missing.code == 1
    assert "Fetching custom tar buildpack... failed (" in missing.said and "404" in missing.said


HOSTILE = [
    "--upload-pack=touch /tmp/x", "-oProxyCommand=id", "-x", "ssh://-oProxyCommand=id/x", "ssh://git@host/x",
    "ext::sh -c id", "ext::sh", "fd::3", "file:///etc", "/etc", "../x", "git@host:x", "http://host/x", "git://host/x", "ftp://host/x.tgz",
    "https://-oProxyCommand=id/x", "https://host/$(id)", "https://host/a b", "https://host/\nx", "https://host/`id`",
    "https://", "HTTPS://h/x",
    "https://host/x#-x", "https://host/x#$(id)", "https://host/x#a..b", "https://host/x#--upload-pack=id",
    "https://host/x#a b",
    "https://host/x.tgz#-x", "https://host/" + "x" * 3000, "python/../../x", "..", "",
]  # fmt: skip


@pytest.mark.row("E1")
@pytest.mark.parametrize("url", HOSTILE, ids=lambda u: repr(u)[:40])
def test_a_url_that_is_none_of_a_buildpack_is_refused_before_anything_is_asked(own_ones: Place, url: str) -> None:
    built = own_ones.build({"Procfile": b"web: x\n"}, buildpacks=[url])
    assert built.code == 1
    assert built.said.startswith(" !     cannot use the buildpack ")
    assert "Fetching" not in built.said and "uid=" not in built.said


@pytest.mark.row("E1", "E13")
def test_a_fetch_that_does_not_end_is_tried_three_times_and_shows_no_password(here: Place) -> None:
    with silent_server() as address:
        url = f"http://ann:s3cret@{address}/bp.git"
        built = here.build({"a": b""}, buildpacks=[url], insecure_fetch=True, fetch_seconds=0.3)
    assert built.code == 1
    assert built.said.startswith("-----> Fetching custom git buildpack... failed (")
    assert f'cannot fetch the buildpack "http://***@{address}/bp.git": it took longer than 0 s' in built.said
    assert "s3cret" not in built.said


@pytest.mark.row("E1")
def test_git_says_why_it_failed_without_the_password(here: Place, tmp_path: Path) -> None:
    with file_server(tmp_path) as url:
        url = url.replace("//", "//ann:s3cret@")
        built = here.build({"a": b""}, buildpacks=[f"{url}/none"], insecure_fetch=True)
    assert "not found" in built.said
    assert "s3cret" not in built.said


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"README": "x"}, "it has no bin/compile"),
        ({"bin/detect": "#!/bin/sh\n", "lib/compile": ""}, "it has no bin/compile"),
        ({"bin/compile": "no program at all"}, "cannot be run: Exec format error"),
        ({"bin/compile": "#!/no/such/shell\n"}, "cannot be run: No such file"),
    ],
)
def test_what_is_no_buildpack_is_refused(here: Place, tmp_path: Path, files: dict[str, str], why: str) -> None:
    repository(tmp_path / "bp", files)
    with git_server(tmp_path) as url:
        built = here.build({"a": b""}, buildpacks=[f"{url}/bp"], insecure_fetch=True)
    assert built.code == 1 and why in built.said


def test_a_compile_that_is_not_executable_is_refused(here: Place, tmp_path: Path) -> None:
    repository(tmp_path / "bp", MINE)
    git(tmp_path / "bp", "update-index", "--chmod=-x", "bin/compile")
    git(tmp_path / "bp", "commit", "-q", "-m", "two")
    with git_server(tmp_path) as url:
        built = here.build({"a": b""}, buildpacks=[f"{url}/bp"], insecure_fetch=True)
    assert built.code == 1 and "its bin/compile is not executable" in built.said


def test_a_detect_that_does_not_end_costs_a_custom_buildpack_its_name_only(here: Place, tmp_path: Path) -> None:
    repository(tmp_path / "buildpack-slow", {**MINE, "bin/detect": "#!/bin/sh\nsleep 1000\n"})
    with git_server(tmp_path) as url:
        urls = [f"{url}/buildpack-slow"]
        built = here.build({"a": b""}, buildpacks=urls, insecure_fetch=True, detect_seconds=0.3)
    assert built.code == 0 and "-----> slow app detected\n" in built.said


@pytest.mark.row("E2", "E4")
def test_several_buildpacks_run_in_the_order_of_the_file_and_see_each_others_exports(here: Place) -> None:
    here.buildpack(
        "nodejs", detect="echo Node", release=RELEASE,
        compile='echo "front in $(basename "$1")"; echo made >"$1/page";'
        """echo "export FRONT='a b'" >"$(dirname "$0")/../export" """,
    )  # fmt: skip
    here.buildpack("python", compile='echo "front is $FRONT"; cat "$1/web/page"', release=RELEASE)
    file = b"# first the front end\r\n\nnodejs  web\nheroku/python # and then\n"
    built = here.build({".buildpacks": file, "web/x": b"", "Procfile": b"web: x\n"})
    assert built.code == 0, built.said
    assert "-----> Buildpack 1 of 2: Node in web/\n       front in web\n" in built.said
    assert "-----> Buildpack 2 of 2: python\n       front is a b\n       made\n" in built.said
    assert built.result["buildpacks"] == ["nodejs", "python"]


@pytest.mark.row("E2", "E6")
def test_a_buildpack_of_a_folder_has_its_start_scripts_and_defaults_run_there(here: Place) -> None:
    here.buildpack(
        "python",
        detect="echo X",
        release=RELEASE,
        compile='mkdir "$1/.profile.d"; echo "export AT=$HOME" >"$1/.profile.d/a.sh"',
    )
    built = here.build({".buildpacks": b"python a/b c\n".replace(b" c", b""), "a/b/x": b""})
    assert built.result["processes"] == {"web": "cd a/b && ./custom"}
    script = built.text("app/.profile.d/a-b.octo.sh")
    assert f". {here.root}/app/a/b/.profile.d/a.sh" in script


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"python ..\n", "no folder"),
        (b"python /etc\n", "no folder"),
        (b"python link\n", "no folder"),
        (b"python none\n", "line 1"),
        (b"python a b\n", "is not `URL` or `URL FOLDER`"),
        (b"# nothing\n", "names no buildpack"),
        (b"ruby\n", "The built-in ones are python, nodejs, static, procfile."),
        (b"ext::id\n", "neither an https:// URL"),
        (b"\xff\xfe", "not a text file"),
        (b"x" * 70_000, "not a text file of at most 64 KB"),
    ],
)
def test_a_buildpacks_file_that_leads_elsewhere_or_nowhere_is_refused(own_ones: Place, text: bytes, why: str) -> None:
    built = own_ones.build({".buildpacks": text, "link": "/etc", "a/x": b""})
    assert built.code == 1 and why in built.said


def test_a_buildpacks_file_that_is_a_link_is_refused(own_ones: Place) -> None:
    built = own_ones.build({".buildpacks": "/etc/passwd"})
    assert (built.code, built.said) == (1, " !     cannot read .buildpacks: it is not a regular file\n")
