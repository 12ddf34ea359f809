"""The engine that builds Dockerfiles: a dockerd of its own, in namespaces of its own, on a disk of its own."""
