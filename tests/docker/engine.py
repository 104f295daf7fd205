"""A Docker engine of the tests' own: its data, its socket, its networks; and images made without any registry."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BASE, IMAGE = "python:3.11-slim", "resilience-example"
_CA = "/etc/ssl/certs/ca-certificates.crt"


def missing() -> str:
    """Say what is missing for an engine; empty when it can be started."""
    if os.geteuid() != 0:
        return "an engine needs root"
    for name, package in (("dockerd", "docker.io"), ("docker-compose", "docker-compose"), ("debootstrap",) * 2):
        if shutil.which(name) is None:
            return f"{name} is not installed (Debian: {package}; `make test-docker` as root installs it)"
    return ""


class Engine:
    """One engine: started, used through its own socket, and ended by its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "DOCKER_HOST": f"unix://{folder}/docker.sock", "DOCKER_BUILDKIT": "0"}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = (self.folder / "dockerd.log").open("wb")
        options = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        with log:
            self._process = subprocess.Popen(
                [
                    "dockerd",
                    "--host",
                    self.environment["DOCKER_HOST"],
                    "--bridge=none",  # every network is a test's own
                    *(f"--{name}={self.folder / where}" for name, where in options.items()),
                ],
                stdout=log,
                stderr=log,
            )
        for _ in range(300):
            if self.run("docker", "info", check=False).returncode == 0:
                return
            assert self._process.poll() is None, (self.folder / "dockerd.log").read_text()[-2000:]
            time.sleep(0.1)
        message = "the engine does not answer"
        raise TimeoutError(message)

    def stop(self) -> None:
        """End it, and take away what it has mounted."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
        for place in sorted((it for it in mounts if it.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command: str, check: bool = True, timeout: float = 300.0, **more: Any) -> Any:
        """Run a program against it."""
        environment = {**self.environment, **more.pop("environment", {})}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT, **more
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def docker(self, *arguments: str, **more: Any) -> str:
        """Run `docker`; return what it says."""
        return str(self.run("docker", *arguments, **more).stdout).strip()

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a `docker` command."""
        return subprocess.Popen(
            ["docker", *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def build(self, cache: Path) -> None:
        """Make the base image out of Debian packages, unless the cache has it, and the example's on top of it."""
        if not cache.exists():
            root = self.folder / "root"
            packages = "python3,python3-venv,ca-certificates"
            self.run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root), timeout=600)
            shutil.copy(_CA, root / _CA[1:])
            (root / "usr/bin/python").symlink_to("python3")
            cache.parent.mkdir(parents=True, exist_ok=True)
            self.run("tar", "-C", str(root), "-cf", str(cache), ".")
            shutil.rmtree(root)
        self.run("docker", "import", "--change", f"ENV PIP_CERT={_CA}", str(cache), BASE)
        dockerfile = "examples/containers/Dockerfile"
        self.run("docker", "build", "--network", "host", "-f", dockerfile, "-t", IMAGE, ".", timeout=600)
        for version in ("1", "2"):
            text = f"FROM {IMAGE}\nENV VERSION={version}\n"
            self.run("docker", "build", "-t", f"{IMAGE}:{version}", "-", input=text)
