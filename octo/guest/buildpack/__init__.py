"""What buildpack_runner.py is made of. Runs inside build sandboxes; standard library only, nothing of octo."""
