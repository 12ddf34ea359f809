# The stack: the root file system of builds and of slugs, made from the host's own apt mirror. Sourced by setup.
# shellcheck shell=sh

make_stack() { # octo itself knows how, and whether there is one of the same recipe already
	step "Looking at the stack $stack"
	code=0
	start_beat
	run_python -m octo.daemon stack 9>&- || code=$?
	end_beat
	[ "$code" -eq 0 ] || die "cannot make the stack" "Look at the lines above, then run this again."
	took
}
