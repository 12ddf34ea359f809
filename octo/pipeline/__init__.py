"""What octo does, as tables of steps over ports."""
