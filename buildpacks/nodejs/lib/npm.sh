# How packages get in. Sourced by compile, in the app's folder.
# shellcheck shell=sh
# shellcheck disable=SC2154 # compile sets them

has() { # a word among the facts about package.json
	case " $facts " in *" $1 "*) return 0 ;; esac
	return 1
}

run_script() {
	npm run "$1" || die "the $1 script of package.json failed; its own words are above"
}

install_packages() {
	lock=
	for file in npm-shrinkwrap.json package-lock.json; do
		[ -n "$lock" ] || ! [ -f "$file" ] || lock=$file
	done
	key=
	# Packages of the repository itself may change while the lock stays the same.
	if ! has workspaces && ! has links && ! grep -qs '"link": true' "$lock"; then
		settings=$(cat package.json "$lock" .npmrc 2>/dev/null | sha256sum)
		key="$settings $(node --version) ${STACK:-} $build $which"
	fi
	if restore; then
		step "Using the packages of the last build: package.json${lock:+ and $lock} unchanged"
		for name in preinstall install postinstall prepare; do
			! has "script:$name" || run_script "$name"
		done
		return
	fi
	npm_config_cache=$cache/npm
	if [ -n "$lock" ]; then
		step "Installing $lock with npm ci"
		npm ci "$which" || die "cannot install the packages: npm failed; its own words are above"
	else
		for file in yarn.lock pnpm-lock.yaml bun.lockb bun.lock; do
			[ ! -f "$file" ] || detail "$file is not used: this buildpack knows npm and its package-lock.json"
		done
		step "Installing package.json with npm install"
		npm install --no-save "$which" || die "cannot install the packages: npm failed; its own words are above"
	fi
	npm_config_cache=${TMPDIR:-/tmp}/npm
	save
}

restore() {
	[ -n "$key" ] && [ -f "$cache/modules.tar" ] && [ "$(cat "$cache/key" 2>/dev/null)" = "$key" ] || return 1
	rm -rf node_modules
	tar -xf "$cache/modules.tar" 2>/dev/null && return
	rm -rf node_modules
	return 1
}

save() {
	rm -f "$cache/key" "$cache/modules.tar"
	[ -n "$key" ] && [ -d node_modules ] || return 0
	tar -cf "$cache/modules.tar" node_modules && echo "$key" >"$cache/key"
}
