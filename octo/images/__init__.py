"""Dockerfiles, what goes into an engine that builds them, and what comes out of it."""
