"""The forced command of OpenSSH and the thin `octo`: standard library only, imports nothing of octo."""
