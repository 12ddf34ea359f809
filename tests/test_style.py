"""The rules of STYLE.md that can be counted."""

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDERS = ("octo", "gitreceive", "tests", "bench", "examples", "buildpacks", "bin", "setup.d", "templates")
PYTHON = sorted(f for folder in FOLDERS for f in CHECKOUT.glob(f"{folder}/**/*.py") if ".venv" not in f.parts)
PROGRAMS = [CHECKOUT / "setup", *sorted(CHECKOUT.glob("setup.d/*")), *sorted(CHECKOUT.glob("bin/*"))]
LONGEST_FILE = 300  # lines
LONGEST_FUNCTION = 40
STARTS = {f"subprocess.{verb}" for verb in ("run", "Popen", "call", "check_call", "check_output")} | {
    "os.posix_spawn",
    "asyncio.create_subprocess_exec",
}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "eval"}


def named(file: Path) -> str:
    return str(file.relative_to(CHECKOUT))


@pytest.mark.parametrize("file", [*PYTHON, *PROGRAMS], ids=named)
def test_no_file_is_too_long_or_unfinished(file: Path) -> None:
    text = file.read_text()
    assert text.count("\n") <= LONGEST_FILE
    assert not re.search(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b(?!X)", text)


@pytest.mark.parametrize("file", PYTHON, ids=named)
def test_no_function_is_too_long(file: Path) -> None:
    long = {f"{node.name}: {length(node)}" for node in functions(file) if length(node) > LONGEST_FUNCTION}
    assert not long


@pytest.mark.parametrize("file", PYTHON, ids=named)
def test_nothing_goes_through_a_shell(file: Path) -> None:
    assert not calls(file) & SHELLS
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            assert not any(k.arg == "shell" and not is_false(k.value) for k in node.keywords), f"line {node.lineno}"


def functions(file: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(file.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def test_programs_are_run_in_one_place() -> None:
    apart = ("octo/guest/", "octo/process.py")  # the former are copied into sandboxes
    for file in PYTHON:
        if named(file).startswith("octo/") and not named(file).startswith(apart):
            assert not calls(file) & STARTS, named(file)


def calls(file: Path) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)}


def test_no_registry_host_is_named() -> None:
    # Where packages come from is the host's affair: apt's sources, pip's configuration.
    locks = [*CHECKOUT.glob("requirements*"), CHECKOUT / "pyproject.toml", *PROGRAMS]
    hosts = re.compile(r"https?://(?!docker/|docker\$)[a-z0-9-]+\.[a-z]", re.IGNORECASE)
    assert not [named(f) for f in locks if hosts.search(f.read_text())]
