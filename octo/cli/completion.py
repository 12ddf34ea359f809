"""The scripts that complete octo's command line in bash, zsh and fish. Pure.

Commands are in the script itself. The names of apps are asked for when they are needed: quietly, because octod may be
away, and cheaply.
"""

from collections.abc import Mapping

APPS = "command octo apps --format names 2>/dev/null"

_BASH = r"""# bash completion of octo
_octo_commands="@COMMANDS@"
_octo() {
    local line="${COMP_LINE:0:COMP_POINT}" words current previous found
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    current="${words[-1]}"
    previous="${words[${#words[@]}-2]}"
    if ((${#words[@]} == 2)); then
        found="$_octo_commands"
    elif [[ "$previous" == -a || "$previous" == --app || ${#words[@]} == 3 ]]; then
        found="$(@APPS@)"
    else
        found="--app --format --help"
    fi
    mapfile -t COMPREPLY < <(compgen -W "$found" -- "$current")
    # bash takes the colon for the end of a word: what stands before the last one is there already.
    if [[ "$current" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}")
    fi
}
complete -F _octo octo
"""

_ZSH = r"""#compdef octo
_octo() {
    local -a commands apps
    commands=(
@DESCRIBED@
    )
    if ((CURRENT == 2)); then
        _describe -t commands 'octo command' commands
    elif [[ "${words[CURRENT-1]}" == (-a|--app) ]] || ((CURRENT == 3)); then
        apps=(${(f)"$(@APPS@)"})
        compadd -a apps
    else
        compadd -- --app --format --help
    fi
}
compdef _octo octo
"""

_FISH = r"""# fish completion of octo
function __octo_apps
    @APPS@
end
complete -c octo -f
@COMMANDS@
complete -c octo -n 'test (count (commandline -opc)) -eq 2' -a '(__octo_apps)'
complete -c octo -n 'test (count (commandline -opc)) -ge 2' -s a -l app -x -a '(__octo_apps)' -d 'The app'
complete -c octo -n 'test (count (commandline -opc)) -ge 2' -l format -x -a 'text json'
complete -c octo -n 'test (count (commandline -opc)) -ge 2' -s h -l help
"""


def script(shell: str, commands: Mapping[str, str]) -> str:
    """commands: what each does, in a few words, by its name."""
    if shell == "bash":
        return _BASH.replace("@COMMANDS@", " ".join(sorted(commands))).replace("@APPS@", APPS).rstrip("\n")
    if shell == "zsh":
        lines = (f"        {_quoted(_colon(name) + ':' + what)}" for name, what in sorted(commands.items()))
        return _ZSH.replace("@DESCRIBED@", "\n".join(lines)).replace("@APPS@", APPS).rstrip("\n")
    first = "test (count (commandline -opc)) -eq 1"
    lines = (f"complete -c octo -n '{first}' -a {_fish(n)} -d {_fish(what)}" for n, what in sorted(commands.items()))
    return _FISH.replace("@COMMANDS@", "\n".join(lines)).replace("@APPS@", APPS).rstrip("\n")


def _colon(name: str) -> str:
    return name.replace(":", "\\:")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(text: str) -> str:
    """fish knows two escapes within its single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
