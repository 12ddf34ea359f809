"""Single files that are copied into sandboxes; standard library only, nothing of octo."""
