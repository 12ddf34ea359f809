"""The installer, in dash: what it refuses, finds, and puts back."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
NOBODY = 65534
PARTS = "say packages python consul engine stack demo"


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


# --- consul ---------------------------------------------------------------------------------------------------

NO_CONSUL = 'has() { [ "$1" != consul ]; }; archive_has() { false; }; install_quietly() { echo "installs $*"; }\n'


def test_a_consul_that_is_there_is_taken() -> None:
    shown = part(f'{NO_CONSUL}has() {{ true; }}; consul() {{ echo "Consul v1.20.1"; }}; install_consul')
    assert "       Consul v1.20.1 at consul\n" in shown and "installs" not in shown


def test_a_package_of_consul_that_was_named_is_installed_and_a_missing_one_told(tmp_path: Path) -> None:
    deb = tmp_path / "consul_1.deb"
    shown = part(f"{NO_CONSUL}install_consul", OCTO_CONSUL_DEB=str(deb))
    assert f'cannot install "{deb}": there is no such file' in shown and "installs" not in shown
    deb.touch()
    assert f"installs {deb}\n" in part(f"{NO_CONSUL}install_consul", OCTO_CONSUL_DEB=str(deb))


def test_who_wants_no_consul_gets_none_and_is_told_what_that_means() -> None:
    shown = part(f"{NO_CONSUL}install_consul", OCTO_CONSUL_SUITE="none")
    assert "going on without Consul" in shown and "installs" not in shown


def test_a_consul_that_cannot_be_fetched_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    nowhere = {"OCTO_CONSUL_MIRROR": f"file:{tmp_path}", "OCTO_CONSUL_SUITE": "nosuch", "PREFIX": sys.prefix}
    shown = part(f'{NO_CONSUL}venv=$PREFIX; cd "$here"; install_consul; echo went on', TMPDIR=str(tmp_path), **nowhere)
    assert f"cannot fetch Consul from nosuch of file:{tmp_path}\n" in shown and "OCTO_CONSUL_DEB" in shown
    assert "went on" not in shown and not list(tmp_path.iterdir())


# --- the stack -------------------------------------------------------------------------------------------------


def test_a_stack_that_cannot_be_made_ends_it_and_the_waiting_ends_too() -> None:
    shown = part('stack=octo; run_python() { echo "       Bootstrapping"; return 1; }; make_stack; echo went on')
    assert "       Bootstrapping\n" in shown
    assert shown.endswith(" !     cannot make the stack\n !     Look at the lines above, then run this again.\n")


def test_all_of_a_test_run_share_one_stack(tmp_path: Path) -> None:
    load = 'cd "$here"; venv=$PREFIX; load_settings; printf "%s\\n" "$stack" "$stacks"'
    assert part(load, PREFIX=sys.prefix, OCTO_HOME=str(tmp_path)) == f"octo\n{tmp_path}/stacks\n"
    assert part(load, PREFIX=sys.prefix, OCTO_STACKS="/srv/stacks", OCTO_STACK="media") == "media\n/srv/stacks\n"


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
