"""octo: git push, and one Linux server builds, runs and serves it."""

__version__ = "0.1.0"
