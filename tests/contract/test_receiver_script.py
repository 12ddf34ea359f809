"""The operator's own receiver: what it is given, how it runs, and when it is not run at all."""

import io
import os
import pwd
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from octo.adapters.receiver_script import ScriptReceiver
from octo.errors import BuildFailed, Cancelled, OctoError, Unavailable
from octo.ports import Receipt

RECEIPT = Receipt("shop.git", "c" * 40, "ann", "SHA256:" + "a" * 43, "feature-x")
Make = Callable[..., ScriptReceiver]


def tar(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            made.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)  # for a script of another owner

    def one(text: str, *, seconds: float = 30, mode: int = 0o755, owner: int = 0) -> ScriptReceiver:
        script = tmp_path / "receiver"
        script.write_text("#!/bin/sh\n" + text)
        script.chmod(mode)
        os.chown(script, owner, owner)
        return ScriptReceiver(script, tmp_path / "places", seconds)

    yield one
    places = tmp_path / "places"
    assert not places.exists() or not list(places.iterdir())


def run(
    receiver: ScriptReceiver,
    files: bytes = b"",
    receipt: Receipt = RECEIPT,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[int, str]:
    said = bytearray()
    code = receiver.run(receipt, [files[:100], files[100:]], said.extend, cancelled)
    return code, said.decode()


@pytest.mark.row("B8")
def test_it_gets_the_tar_the_five_arguments_and_a_clean_environment(make: Make) -> None:
    os.environ["OCTO_SECRET"] = "s3cret"
    try:
        code, said = run(
            make('printf "%s|" "$@"; echo; tar -xf - && cat one; ls; env | sort; id -u; pwd\n'), tar(one="1\n")
        )
    finally:
        del os.environ["OCTO_SECRET"]
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == f"shop.git|{'c' * 40}|ann|SHA256:{'a' * 43}|feature-x|" and lines[1:3] == ["1", "one"]
    given = {line.partition("=")[0] for line in lines[3:] if "=" in line}
    assert given - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "RECEIVE_USER", "RECEIVE_REPO", "RECEIVE_FINGERPRINT"
    }  # fmt: skip
    assert "RECEIVE_REPO=shop.git" in lines and "RECEIVE_USER=ann" in lines and "s3cret" not in said


@pytest.mark.row("B8")
def test_it_runs_as_its_owner(make: Make) -> None:
    nobody = pwd.getpwnam("nobody")
    code, said = run(make("id -u; id -g; touch here && ls\n", owner=nobody.pw_uid))
    assert (code, said.split()) == (0, [str(nobody.pw_uid), str(nobody.pw_gid), "here"])


@pytest.mark.row("B8")
@pytest.mark.parametrize("ends", [1, 3, 77])
def test_how_it_ends_is_told_and_what_it_does_not_read_is_no_error(make: Make, ends: int) -> None:
    assert run(make(f"echo no >&2; exit {ends}\n"), b"x" * 5_000_000) == (ends, "no\n")


def test_a_signal_is_an_exit_code_as_in_a_shell(make: Make) -> None:
    assert run(make("kill -9 $$\n"))[0] == 137


def test_arguments_are_words_whatever_is_in_them(make: Make) -> None:
    odd = Receipt("shop.git", "c" * 40, "a b", "", "$(id);`id` '\"\n*")
    code, said = run(make('for each in "$@"; do printf "<%s>" "$each"; done\n'), receipt=odd)
    assert code == 0 and said == f"<shop.git><{'c' * 40}><a b><><$(id);`id` '\"\n*>\n"


def test_what_it_leaves_running_holds_nobody_up(make: Make) -> None:
    code, said = run(make("sleep 600 & echo done; exit 0\n"))
    assert (code, said) == (0, "done\n")
    assert run(make("setsid sleep 6 </dev/null & echo $!; exec >&- 2>&-; exit 4\n"))[0] == 4


def test_one_that_takes_too_long_is_ended(make: Make) -> None:
    with pytest.raises(BuildFailed, match=r"did not end within 0\.5 s"):
        run(make("trap : TERM; exec sleep 600\n", seconds=0.5))


def test_one_that_nobody_waits_for_is_ended(make: Make) -> None:
    began = threading.Event()
    receiver = make("echo began; exec sleep 600\n")
    with pytest.raises(Cancelled):
        receiver.run(RECEIPT, [], lambda data: began.set() if data else None, began.is_set)


def test_files_that_break_off_end_it_with_their_reason(make: Make) -> None:
    def files() -> Iterator[bytes]:
        yield b"x"
        raise OctoError("cannot go on: the receiver hung up")

    with pytest.raises(OctoError, match="hung up"):
        make("exec sleep 600\n").run(RECEIPT, files(), lambda data: None, lambda: False)


@pytest.mark.row("B8")
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o644])
def test_one_that_others_may_write_is_not_run(make: Make, mode: int) -> None:
    with pytest.raises(Unavailable, match="cannot run the receiver"):
        run(make("echo ran\n", mode=mode))


@pytest.mark.row("B8")
def test_one_in_a_folder_that_others_may_write_is_not_run(make: Make, tmp_path: Path) -> None:
    receiver = make("echo ran\n")
    for mode, owner in ((0o775, 0), (0o757, 0), (0o755, 12345)):
        tmp_path.chmod(mode)
        os.chown(tmp_path, owner, 0)
        with pytest.raises(Unavailable, match="others may write"):
            run(receiver)
    tmp_path.chmod(0o755)
    os.chown(tmp_path, 0, 0)
    assert run(receiver) == (0, "ran\n")


def test_what_one_left_whose_octod_was_killed_is_removed(make: Make, tmp_path: Path) -> None:
    receiver = make("pwd\n")
    (tmp_path / "places" / "0123").mkdir(parents=True)
    (tmp_path / "places" / "0123" / "page").write_text("")
    receiver.sweep()
    receiver.sweep()
    assert run(receiver)[0] == 0 and os.listdir(tmp_path / "places") == []


def test_a_link_a_folder_and_nothing_are_no_receiver(make: Make, tmp_path: Path) -> None:
    make("echo ran\n")
    (tmp_path / "link").symlink_to(tmp_path / "receiver")
    for name in ("link", "none", "."):
        with pytest.raises(Unavailable, match="cannot run the receiver"):
            run(ScriptReceiver(tmp_path / name, tmp_path / "places", 30))
    with pytest.raises(Unavailable):
        run(ScriptReceiver(Path("receiver"), tmp_path / "places", 30))
