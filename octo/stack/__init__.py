"""The Debian root that builds and slugs run on: its making, its folder, its image."""
