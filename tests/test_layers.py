"""The rules that tools can see: layers, lint, types, and what the small programs may import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SCRIPTS = Path(sys.executable).parent  # of the venv: tools of the locked versions
ALONE = sorted([*CHECKOUT.glob("gitreceive/**/*.py"), *CHECKOUT.glob("octo/guest/**/*.py"), CHECKOUT / "bin" / "octo"])
SHELL = ["setup", ".ci/run", "examples/plugins/mysql/commands", "examples/plugins/mysql/server/serve.sh"]


def passes(*argv: str | Path) -> None:
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_point_down() -> None:
    passes(SCRIPTS / "lint-imports", "--no-cache")


def test_ruff_finds_nothing() -> None:
    passes(SCRIPTS / "ruff", "check", "--no-cache", ".")


def test_every_file_is_formatted() -> None:
    passes(SCRIPTS / "ruff", "format", "--no-cache", "--check", ".")


def test_every_type_is_right() -> None:
    passes(sys.executable, "-m", "mypy", "--strict", "octo", "gitreceive")


@pytest.mark.parametrize("name", SHELL)
def test_shellcheck_finds_nothing(name: str) -> None:
    passes("shellcheck", "--external-sources", "--check-sourced", "--shell=sh", name)


@pytest.mark.parametrize("file", ALONE, ids=lambda f: str(f.relative_to(CHECKOUT)))
def test_the_small_programs_import_only_the_standard_library_and_each_other(file: Path) -> None:
    own = {"gitreceive"} if "guest" not in file.parts else {"", *(p.stem for p in file.parent.iterdir())}
    strangers = {name.partition(".")[0] for name in imported(file)} - sys.stdlib_module_names - own
    assert not strangers


def imported(file: Path) -> set[str]:
    """Every module a file names in an import; a relative one, which only guests may have, begins with a dot."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or "") if node.level else node.module or "")
    return names


@pytest.mark.parametrize(
    "argv",
    [("gitreceive/__main__.py", "run", "ann", "SHA256:" + "A" * 43), ("bin/octo", "apps")],
    ids=["gitreceive", "octo"],
)
def test_a_small_program_starts_without_the_slow_modules(argv: tuple[str, ...]) -> None:
    # One of these alone costs more than the whole program.
    slow = {"socket", "json", "re", "subprocess", "typing", "pathlib", "contextlib", "argparse", "threading"}
    nowhere = {"OCTO_DOOR": "/nonexistent", "OCTO_SOCKET": "/nonexistent", "SSH_ORIGINAL_COMMAND": "octo apps"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", CHECKOUT / argv[0], *argv[1:]],
        env=nowhere,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip() for line in lines}
    assert "gitreceive.wire" in loaded, done.stderr
    assert not loaded & slow
