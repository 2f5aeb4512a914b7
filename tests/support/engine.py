"""Whether a Docker engine can give us a server."""

import os
import socket
from functools import cache
from urllib.parse import urlsplit

import docker
import docker.errors

FETCH_SECONDS = 120


@cache
def docker_has(image: str) -> bool:
    """Whether an engine answers and has the image (`postgres:18`), or can fetch it."""
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
    """Whether somebody listens; the client would leave its socket open where nobody does."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0
