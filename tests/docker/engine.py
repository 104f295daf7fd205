"""A Docker engine of the tests' own, apart from the machine; and images made without any registry.

The engine runs in namespaces of its own for processes, mounts and (but while images are built, which needs pip) the
network. What it makes there - bridges, firewall rules, mounts, containers - goes with it however it ends: its first
process waits for the end of its input, and the kernel closes that even when the tests are killed.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BASE, IMAGE = "python:3.11-slim", "resilience-example"
_CA = "/etc/ssl/certs/ca-certificates.crt"
_PACKAGES = {
    "dockerd": "docker.io",
    "docker-compose": "docker-compose",
    "debootstrap": "debootstrap",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
# Process 1 of the namespace. /etc/docker and /run/docker are the machine's: its settings are not ours, and the engine
# would leave a key and a folder there. It is stopped gently when the input ends.
_INIT = """
mount -t tmpfs none /run
if [ -d /etc/docker ]; then mount -t tmpfs none /etc/docker; fi
ip link set lo up
exec 3<&0 </dev/null
"$@" 3<&- &
engine=$!
{ cat <&3 >/dev/null; kill -TERM $engine; } &
wait $engine
"""


def missing() -> str:
    """Say what is missing for an engine; empty when it can be started."""
    if os.geteuid() != 0:
        return "a Docker engine of the tests' own needs root"
    for program, package in _PACKAGES.items():
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: {package}; `make test-docker` as root installs it)"
    return ""


class Engine:
    """One engine: started, used through its own socket, and ended with all that it made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "COMPOSE_"))}
        self.environment = {
            **kept,
            "DOCKER_HOST": f"unix://{folder}/docker.sock",
            "DOCKER_CONFIG": f"{folder}/client",
            "DOCKER_BUILDKIT": "0",
        }
        self._cgroup = f"/tests-{folder.name}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, apart: bool = True) -> None:
        """Start it, and wait until it answers. `apart`: with a network of its own, out of which nothing leads."""
        options = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        # Every network is a test's own; on the machine's network the engine must not touch anything.
        network = ["--bridge=none"] if apart else ["--bridge=none", "--iptables=false", "--ip-forward=false"]
        # All containers together would weigh as much as one process of the machine's, and starve beside a few.
        weight = Path(f"/sys/fs/cgroup/cpu{self._cgroup}/cpu.shares")
        if weight.parents[1].is_dir():  # version 1
            weight.parent.mkdir(exist_ok=True)
            weight.write_text("8192", encoding="utf-8")
        log = self.folder / "dockerd.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *(["--net"] * apart),
                    "bash", "-c", _INIT, "engine",
                    "dockerd", "--host", self.environment["DOCKER_HOST"], *network, "--cgroup-parent", self._cgroup,
                    *(f"--{name}={self.folder / where}" for name, where in options.items()),
                ],
                stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        for _ in range(600):
            if self.run("docker", "info", check=False).returncode == 0:
                return
            assert self._process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
            time.sleep(0.1)
        message = f"the engine does not answer\n{log.read_text(encoding='utf-8')[-2000:]}"
        raise TimeoutError(message)

    def halt(self) -> None:
        """End it gently, or else its namespaces; what it keeps on disk stays."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for place in Path("/sys/fs/cgroup").glob(f"**{self._cgroup}"):
            subprocess.run(["find", str(place), "-depth", "-type", "d", "-delete"], check=False, capture_output=True)

    def stop(self) -> None:
        """End it and take away what it kept."""
        try:
            self.halt()
        finally:
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
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["docker", *arguments], env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1
        )

    def kill(self, identity: str, signal: str = "KILL") -> None:
        """Send a signal to a container's first process behind the engine's back, as `kill -9` and out of memory do."""
        assert self._process is not None
        inside = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="utf-8")
        number = self.docker("inspect", "-f", "{{.State.Pid}}", identity)
        self.run("nsenter", "--target", inside.split()[0], "--mount", "--pid", "kill", f"-{signal}", number)

    def build(self, cache: Path) -> None:
        """Make the base image out of Debian packages, unless the cache has it, and the example's on top of it."""
        if not cache.exists():
            self._bootstrap(cache)
        self.run("docker", "import", "--change", f"ENV PIP_CERT={_CA}", str(cache), BASE)
        dockerfile = "examples/containers/Dockerfile"
        self.run("docker", "build", "--network", "host", "-f", dockerfile, "-t", IMAGE, ".", timeout=600)
        for version in ("1", "2"):
            text = f"FROM {IMAGE}\nENV VERSION={version}\n"
            self.run("docker", "build", "-t", f"{IMAGE}:{version}", "-", input=text)

    def _bootstrap(self, cache: Path) -> None:
        root = self.folder / "root"
        packages = "python3,python3-venv,ca-certificates"
        self.run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root), timeout=600)
        shutil.copy(_CA, root / _CA[1:])
        (root / "usr/bin/python").symlink_to("python3")
        cache.parent.mkdir(parents=True, exist_ok=True)
        half = cache.with_suffix(f".{os.getpid()}")
        self.run("tar", "-C", str(root), "-cf", str(half), ".")
        half.rename(cache)  # whole, or not at all
        shutil.rmtree(root)
