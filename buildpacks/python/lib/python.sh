# Which Python, what was asked for, and how it gets in. Sourced by compile, in the app's folder.
# shellcheck shell=sh
# shellcheck disable=SC2154 # compile sets them

choose_python() { # set python: what runtime.txt or .python-version asks for, else the stack's
	python=python3
	for file in runtime.txt .python-version; do
		[ -f "$file" ] || continue
		wanted=$(tr -d '\r' <"$file" | sed -e 's/#.*//' -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' | grep -m1 . | sed 's/^python-//') || wanted=
		case $wanted in
		'' | *[!0-9.]* | .* | *. | *..*)
			die "cannot read $file: \"$wanted\" is no version of Python" "$(those_there)" ;;
		esac
		minor=$(echo "$wanted" | cut -d. -f1-2)
		command -v "python$minor" >/dev/null ||
			die "cannot use Python $wanted, as $file asks for: $(those_there)" "Change $file, or remove it."
		python=python$minor
		case $($python --version) in
		"Python $wanted" | "Python $wanted".*) ;;
		*) detail "$file asks for Python $wanted; the stack's $($python --version) is used" ;;
		esac
		return
	done
}

those_there() {
	names=$(ls /usr/bin /usr/local/bin | grep -xE 'python3\.[0-9]+' | sort -uV | sed 's/python//' | paste -sd, | sed 's/,/, /g')
	echo "this stack has Python $names"
}

key_of() { # FILE...: what must be the same for an environment to be used again; nothing when that cannot be told
	inputs=$($python -I -S "$home/lib/inputs.py" "$@") || return 0
	echo "$inputs $($python --version) ${STACK:-} $build"
}

restore() {
	[ -n "$key" ] && [ -f "$cache/venv.tar" ] && [ "$(cat "$cache/key" 2>/dev/null)" = "$key" ] || return 1
	tar -xf "$cache/venv.tar" -C "$build" 2>/dev/null && [ -x "$venv/bin/python" ] && return
	rm -rf "$venv"
	return 1
}

save() {
	if [ -n "$key" ] && [ -f "$cache/venv.tar" ] && [ "$(cat "$cache/key" 2>/dev/null)" = "$key" ]; then
		return
	fi
	rm -f "$cache/key" "$cache/venv.tar"
	[ -n "$key" ] || return 0
	tar -cf "$cache/venv.tar" -C "$build" .octo/python && echo "$key" >"$cache/key"
}

make_venv() { # without a pip of its own, which would take seconds; the stack's can work on another environment since 22.3
	if $python -c 'import sys, pip; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3))' 2>/dev/null; then
		$python -m venv --without-pip "$venv"
	else
		$python -m venv "$venv"
	fi
}

pip_for() { # ENVIRONMENT WORDS...
	environment=$1
	shift
	if [ -x "$environment/bin/pip" ]; then
		"$environment/bin/pip" "$@"
	else
		$python -m pip --python "$environment/bin/python" "$@"
	fi
}

pip_install() {
	pip_for "$venv" install "$@" || die "cannot install the packages: pip failed; its own words are above"
}

uv_sync() { # uv itself is kept in the cache, its downloads are not: the environment is
	if ! "$cache/uv/bin/uv" --version 2>/dev/null; then
		rm -rf "$cache/uv"
		$python -m venv --without-pip "$cache/uv"
		pip_for "$cache/uv" install -q --no-cache-dir uv || die "cannot install uv: pip failed; its own words are above"
	fi
	UV_PROJECT_ENVIRONMENT=$venv UV_PYTHON=$venv/bin/python UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_CACHE=1 \
		UV_COMPILE_BYTECODE=1 UV_SYSTEM_CERTS=1 "$cache/uv/bin/uv" sync --frozen --no-dev --no-progress ||
		die "cannot install the packages: uv failed; its own words are above"
}
