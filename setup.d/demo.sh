# The demonstration: octod, a key, an app, two pushes. Sourced by setup.
# shellcheck shell=sh

run_demo() {
	folder=$OCTO_HOME/demo
	repository=$folder/hello
	url=http://hello.$suffix:$http_port/
	start_octod
	make_key
	make_app
	make_repository
	now_is=$(date +%T)
	push_greeting "Hello from octo. This is the first push of $now_is."
	push_greeting "Hello again. This is the second push, begun at $now_is."
	explain
}

octo() { "$here/bin/octo" "$@"; }

start_octod() {
	step "Starting octod"
	if octo status >/dev/null 2>&1; then
		detail "it runs already, home $OCTO_HOME"
		return 0
	fi
	detail "home $OCTO_HOME, log $OCTO_HOME/octod.log"
	(umask 066 && mkdir -p -- "$OCTO_HOME") # all may pass through, none may look around
	(umask 077 && : >>"$OCTO_HOME/octod.log")
	setsid "$venv/bin/python" -m octo.daemon >>"$OCTO_HOME/octod.log" 2>&1 </dev/null &
	wait_for_octod $!
	took
}

wait_for_octod() { # PID
	tries=0
	until octo status >/dev/null 2>&1; do
		tries=$((tries + 1))
		if [ $tries -gt 300 ] || ! runs "$1"; then
			show_end "$OCTO_HOME/octod.log"
			die "cannot start octod: it does not answer" "Look at its log: $OCTO_HOME/octod.log"
		fi
		[ $((tries % 75)) -ne 0 ] || detail "waiting for octod ($((tries / 5)) s)"
		sleep 0.2
	done
}

make_key() { # a throw-away one
	step "Making an SSH key and telling octo about it"
	mkdir -p -- "$folder"
	chmod 700 "$folder"
	if [ ! -e "$folder/key" ]; then
		ssh-keygen -q -t ed25519 -N '' -C octo-demo -f "$folder/key"
		detail "ssh-keygen -t ed25519 -f $(quoted "$folder/key")"
	fi
	detail "octo keys:add demo < $(quoted "$folder/key.pub")"
	patiently octo keys:add demo <"$folder/key.pub" || failed "cannot add the key"
}

make_app() {
	step "Looking at the app hello"
	code=0
	patiently octo apps:info -a hello || code=$?
	case $code in
	0) detail "it is there" ;;
	20)
		detail "octo apps:create hello"
		patiently octo apps:create hello || failed "cannot make the app"
		;;
	*) failed "cannot look at the app: octo apps:info ended with $code" ;;
	esac
}

make_repository() {
	step "Making a git repository from examples/hello-procfile"
	mkdir -p -- "$repository"
	cp -R "$here/examples/hello-procfile/." "$repository/"
	force=''
	if [ ! -d "$repository/.git" ]; then
		demo_git init -q -b main
		force=--force # the app may know an older repository of this name
	fi
	remote=ssh://git@$address:$ssh_port/hello.git
	detail "$repository, pushed to $remote"
}

demo_git() { # stock git, without this host's own git and ssh settings
	ssh="ssh -F none -i $(quoted "$folder/key") -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes"
	ssh="$ssh -o StrictHostKeyChecking=accept-new -o GlobalKnownHostsFile=/dev/null"
	ssh="$ssh -o $(quoted "UserKnownHostsFile=\"$folder/known_hosts\"")"
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND=$ssh \
		git -C "$repository" -c user.name=demo -c user.email=demo@localhost "$@"
}

push_greeting() { # WORDS
	step "Pushing the greeting \"$1\""
	printf '%s\n' "$1" >"$repository/greeting.txt"
	demo_git add -A
	demo_git commit -q -m "Change the greeting"
	detail "git push $remote main"
	# shellcheck disable=SC2086 # an option or nothing
	demo_git push $force "$remote" main 2>&1 || die "cannot show the demo: git push failed" \
		"Look at the lines above and at $OCTO_HOME/octod.log."
	force=''
	detail "curl $url"
	page=$(curl -fsS --noproxy '*' --max-time 30 --connect-to "::$address:$http_port" "$url") ||
		die "cannot show the demo: $url does not answer" "Run: sudo $(quoted "$here/bin/octo") logs -a hello"
	case $page in
	*"$1"*) detail "the page says: $1" ;;
	*) die "cannot show the demo: the page at $url has not the new greeting" "It is this: $page" ;;
	esac
	took
}

explain() {
	command="sudo $(quoted "$here/bin/octo")"
	[ "$OCTO_HOME" = "$here/.octo" ] || command="sudo OCTO_HOME=$(quoted "$OCTO_HOME") $(quoted "$here/bin/octo")"
	result "It works: $url"
	cat <<-END
		       The same by hand, with an app of your own:
		         $command keys:add you < ~/.ssh/id_ed25519.pub
		         $command apps:create shop
		         git push ssh://git@$address:$ssh_port/shop.git main
		         curl http://shop.$suffix:$http_port/
		       To stop all of it:
		         sudo $(quoted "$script") stop
	END
}

stop_all() {
	choose_home
	if [ -x "$venv/bin/python" ] && [ -d "$OCTO_HOME" ]; then
		run_python -m octo.daemon down || die "cannot stop octo" "Look at $OCTO_HOME/octod.log."
	else
		detail "octo does not run from this checkout"
	fi
	stop_engine
}
