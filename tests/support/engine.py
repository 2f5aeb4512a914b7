"""Finds out whether a Docker engine can run servers for tests."""

import os
import socket
from functools import cache
from urllib.parse import urlsplit

import docker
import docker.errors

FETCH_SECONDS = 120


@cache
def docker_has(image: str) -> bool:
    """Return whether an engine answers and has the image (`postgres:18`), or can fetch it."""
    address = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    if address.scheme == "unix" and not answers(address.path):
        return False
    try:
        client = docker.from_env(timeout=FETCH_SECONDS)
    except docker.errors.DockerException:
        return False
    try:
        if not client.images.list(image):
            client.images.pull(image)
    except docker.errors.DockerException:
        return False
    finally:
        client.close()
    return True


def answers(path: str) -> bool:
    """Return whether a server listens on a socket; without one, Docker's client leaks its own."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0
