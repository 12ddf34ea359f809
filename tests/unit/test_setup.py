"""The installer, in dash: what it refuses, finds, and puts back."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from platform import freedesktop_os_release

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
NOBODY = 65534
PARTS = "say packages python engine stack demo"
CODENAME = freedesktop_os_release()["VERSION_CODENAME"]


def run(*argv: str | Path, user: int | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    path = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        argv, env=path | env, cwd="/", user=user, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def part(snippet: str, *, here: Path = CHECKOUT, **env: str) -> str:
    """Run a snippet with the functions of setup.d at hand; its output."""
    sources = "".join(f'. "$parts/setup.d/{name}.sh"\n' for name in PARTS.split())
    start = f"parts={CHECKOUT}\nhere=$1\nscript=$here/setup\ntrap clean_up EXIT\n"
    done = run("dash", "-euc", f"{start}{sources}{snippet}", "setup", here, **env)
    return done.stdout + done.stderr


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder with a space in its name that everybody can get to."""
    with tempfile.TemporaryDirectory(prefix="octo setup ") as name:
        Path(name).chmod(0o755)
        yield Path(name)


# --- verbs -------------------------------------------------------------------------------------------------


def test_it_wants_root_and_says_what_to_type(public: Path) -> None:
    shutil.copy(CHECKOUT / "setup", public)
    shutil.copytree(CHECKOUT / "setup.d", public / "setup.d")
    done = run(public / "setup", "demo", user=NOBODY)
    assert done.returncode == 1
    assert done.stderr == f" !     cannot run \"setup demo\": it needs root\n !     Run: sudo '{public}/setup' demo\n"


def test_it_works_through_a_symbolic_link(public: Path) -> None:
    (public / "link").symlink_to(CHECKOUT / "setup")
    assert run(public / "link", "help").stdout.startswith("usage: sudo ./setup VERB")


@pytest.mark.parametrize("verb", ["install", "upgrade", "uninstall"])
def test_what_comes_later_is_refused_and_says_so(verb: str) -> None:
    done = run(CHECKOUT / "setup", verb)
    assert done.returncode == 2
    assert done.stderr.startswith(f" !     cannot {verb} yet: that comes in a later part of octo\n")


@pytest.mark.parametrize("argv", [(), ("deploy",), ("--demo",), ("",)])
def test_wrong_usage_ends_with_2_and_changes_nothing(argv: tuple[str, ...]) -> None:
    done = run(CHECKOUT / "setup", *argv)
    assert done.returncode == 2
    assert done.stderr


def test_help_names_every_verb() -> None:
    done = run(CHECKOUT / "setup", "help")
    assert done.returncode == 0
    words = done.stdout.split()
    assert {"demo", "stop", "test", "bench", "prerequisites", "stack", "help"} <= set(words)


@pytest.mark.parametrize("file", ["setup", *(f"setup.d/{name}.sh" for name in PARTS.split())])
def test_dash_can_read_it(file: str) -> None:
    done = run("dash", "-n", CHECKOUT / file)
    assert (done.returncode, done.stderr) == (0, "")


# --- what it shows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["plain", "a b", "it's", "$(id)", '"', "a\\b", "*", "ü"])
def test_a_quoted_path_is_read_back_as_it_was(text: str) -> None:
    assert part('eval "set -- $(quoted "$TEXT")"; printf %s "$1"', TEXT=text) == text


def test_a_failing_step_shows_its_last_lines_and_leaves_no_log_behind(tmp_path: Path) -> None:
    shown = part(
        'noisy() { seq 100; echo "the reason" >&2; return 3; }\n'
        "log=$(mktemp -p $FOLDER)\n"
        'patiently noisy || failed "cannot make it" "Try again."',
        FOLDER=str(tmp_path),
    )
    assert shown.endswith("       the reason\n !     cannot make it\n !     Try again.\n")
    assert "       99\n" in shown
    assert "       70\n" not in shown
    assert not list(tmp_path.iterdir())


def test_a_successful_step_is_quiet() -> None:
    assert part('step "Doing it"; patiently seq 100; echo end') == "-----> Doing it\nend\n"


# --- services that must not start -----------------------------------------------------------------------------

OURS = '. "$parts/setup.d/packages.sh"; policy=$FOLDER/policy-rc.d; saved_policy=$policy.before-octo\n'
ASK = 'for s in nginx nginx.service ssh.socket docker; do "$policy" "$s" start && echo "$s starts"; done || true\n'


def test_a_held_service_does_not_start_and_others_do(tmp_path: Path) -> None:
    shown = part(f"{OURS}hold_services nginx ssh\n{ASK}", FOLDER=str(tmp_path))
    assert shown == "docker starts\n"
    assert not list(tmp_path.iterdir())


def test_the_hosts_own_policy_still_counts_and_comes_back(tmp_path: Path) -> None:
    own = tmp_path / "policy-rc.d"
    own.write_text("#!/bin/sh\nexit 101\n")
    own.chmod(0o755)
    assert part(f"{OURS}hold_services nginx\n{ASK}exit 1", FOLDER=str(tmp_path)) == ""
    assert own.read_text() == "#!/bin/sh\nexit 101\n"
    assert list(tmp_path.iterdir()) == [own]


def test_a_policy_that_a_killed_run_left_is_put_back_by_the_next(tmp_path: Path) -> None:
    own = tmp_path / "policy-rc.d"
    own.write_text("#!/bin/sh\nexit 0\n")
    part(f"{OURS}hold_services nginx\nkill -9 $$", FOLDER=str(tmp_path))
    assert own.read_text() != "#!/bin/sh\nexit 0\n"
    part(f"{OURS}restore_policy", FOLDER=str(tmp_path))
    assert own.read_text() == "#!/bin/sh\nexit 0\n"
    assert list(tmp_path.iterdir()) == [own]


# --- the stack -------------------------------------------------------------------------------------------------

DEB822 = """\
Types: deb
URIs: http://mirror.example/debian
Suites: {code} {code}-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://security.example/debian-security
Suites: {code}-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
ONE_LINE = """\
# deb http://off.example/debian {code} main
deb http://packages.example/apt {code} main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian {code} main contrib
deb http://mirror.example/debian {code}-updates main
deb-src http://mirror.example/source {code} main
deb http://security.example/debian-security {code}-security main
"""
FOUND = """\
deb http://mirror.example/debian/ {code} main
deb http://mirror.example/debian/ {code}-updates main
deb http://security.example/debian-security/ {code}-security main
"""


def apt_with(folder: Path, name: str, text: str) -> str:
    """An apt configuration with these sources and no downloaded lists."""
    (folder / "parts").mkdir()
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "parts" / name).write_text(text)
    places = {"Etc::SourceList": "none", "Etc::SourceParts": "parts", "State::Lists": "lists"}
    config = folder / "apt.conf"
    config.write_text("".join(f'Dir::{key} "{folder / place}";\n' for key, place in places.items()))
    return str(config)


@pytest.mark.parametrize(("name", "text"), [("debian.sources", DEB822), ("debian.list", ONE_LINE)])
def test_the_mirror_is_that_of_the_host(tmp_path: Path, name: str, text: str) -> None:
    config = apt_with(tmp_path, name, text.format(code=CODENAME))
    shown = part('find_mirror; printf "%s\\n" "$suite $mirror" "$sources"', APT_CONFIG=config)
    assert shown == f"{CODENAME} http://mirror.example/debian/\n{FOUND.format(code=CODENAME)}"


def test_a_host_that_follows_stable_gets_a_stack_of_stable(tmp_path: Path) -> None:
    config = apt_with(tmp_path, "debian.list", "deb http://mirror.example/debian stable main\n")
    assert part('find_mirror; echo "$suite"', APT_CONFIG=config) == "stable\n"


def test_settings_override_mirror_and_suite(tmp_path: Path) -> None:
    config = apt_with(tmp_path, "debian.list", ONE_LINE.format(code=CODENAME))
    snippet = 'find_mirror; echo "$suite $mirror"; echo "$sources"'
    shown = part(snippet, APT_CONFIG=config, OCTO_MIRROR="http://other.example/d", OCTO_SUITE="sid")
    assert shown == "sid http://other.example/d\ndeb http://other.example/d sid main\n"


def test_without_a_mirror_it_says_what_to_set(tmp_path: Path) -> None:
    config = apt_with(tmp_path, "other.list", f"deb http://packages.example/apt {CODENAME} main\n")
    shown = part("find_mirror; echo went on", APT_CONFIG=config)
    assert shown.endswith(" !     Set OCTO_MIRROR to its URL and OCTO_SUITE to its suite.\n")
    assert "went on" not in shown


def test_the_stack_is_made_anew_only_when_its_recipe_changes(tmp_path: Path) -> None:
    extra = tmp_path / "extra.pem"
    extra.write_text("one")
    recipe = 'suite=a mirror=b sources=c extra_ca=; eval "$CHANGE"; stack_recipe | sha256sum'
    changes = ["", "", "suite=x", "mirror=x", "sources=x", f"extra_ca={extra}"]
    tags = [part(recipe, CHANGE=change) for change in changes]
    extra.write_text("two")
    tags.append(part(recipe, CHANGE=changes[-1]))
    assert tags[0] == tags[1]
    assert len(set(tags[1:])) == len(tags[1:])


def test_the_work_folder_of_the_stack_goes_whatever_happens(tmp_path: Path) -> None:
    part(f"stack_work=$(mktemp -d {tmp_path}/work.XXXXXX); touch $stack_work/file; exit 1")
    assert not list(tmp_path.iterdir())


# --- the home ----------------------------------------------------------------------------------------------------


def test_home_is_in_the_checkout_where_all_can_get_to_it() -> None:
    with tempfile.TemporaryDirectory(prefix="octo-home-") as name:
        Path(name).chmod(0o711)
        assert part("default_home", here=Path(name)) == f"{name}/.octo\n"
        Path(name).chmod(0o710)
        assert part("default_home", here=Path(name)) == "/var/lib/octo-embedded\n"


def test_home_is_elsewhere_when_a_folder_above_is_closed_or_the_path_is_odd_or_long(public: Path) -> None:
    closed = Path(tempfile.gettempdir()) / f"octo-closed-{os.getpid()}"
    deep = closed / "open"
    deep.mkdir(parents=True)
    closed.chmod(0o700)
    try:
        assert part("default_home", here=deep) == "/var/lib/octo-embedded\n"
    finally:
        shutil.rmtree(closed)
    assert part("default_home", here=public) == "/var/lib/octo-embedded\n"
    assert part("default_home", here=Path("/" + "a" * 73)) == "/var/lib/octo-embedded\n"


def test_a_wrong_setting_is_told_in_octos_own_words() -> None:
    shown = part('cd "$here"; venv=$PREFIX; load_settings; echo went on', PREFIX=sys.prefix, OCTO_SSH_PORT="70000")
    assert shown.startswith(' !     cannot use "70000" as a port\n !     ')
    assert "went on" not in shown
