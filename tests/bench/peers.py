"""The gateways of others, from the package registries, each installed for itself below `.venv/bench`."""

import shutil
import subprocess
import sys
from typing import Any, Final

from tests.contract.processes import ROOT

LITELLM: Final = "1.108.7"
PORTKEY: Final = "1.15.2"
VERSIONS: Final = {"litellm": LITELLM, "portkey": PORTKEY}
_HOME: Final = ROOT / ".venv" / "bench"


def installed(name: str) -> list[str]:
    """The command line that starts one; installs it first where it is not there. Raises `OSError` or
    `subprocess.SubprocessError`."""
    home = _HOME / f"{name}-{VERSIONS[name]}"
    if not (home / ".installed").exists():
        print(f"Installing {name} {VERSIONS[name]} (about a minute, once) ...", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for step in _STEPS[name]:
            subprocess.run([part.format(home=home) for part in step], cwd=home, check=True, stdout=subprocess.DEVNULL)
        (home / ".installed").touch()
    return [part.format(home=home) for part in _PROGRAMS[name]]


_STEPS: Final = {
    "litellm": [
        (sys.executable, "-m", "venv", "{home}/venv"),
        ("{home}/venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", f"litellm[proxy]=={LITELLM}"),
    ],
    "portkey": [
        ("npm", "install", "--no-audit", "--no-fund", "--no-save", "--prefix", "{home}", f"@portkey-ai/gateway@{PORTKEY}"),
    ],
}
_PROGRAMS: Final = {
    "litellm": ["{home}/venv/bin/litellm"],
    "portkey": ["node", "{home}/node_modules/@portkey-ai/gateway/build/start-server.js"],
}


def litellm_configuration(vendor: str, key: str) -> dict[str, Any]:
    """One model for every name, at the vendor; nothing stored, nothing sent elsewhere, no retries."""
    parameters = {"model": "openai/bench", "api_base": vendor, "api_key": key}
    return {
        "model_list": [{"model_name": "*", "litellm_params": parameters}],
        "litellm_settings": {"num_retries": 0, "telemetry": False, "request_timeout": 60},
        "router_settings": {"num_retries": 0},
    }


def portkey_headers(vendor: str) -> dict[str, str]:
    """Portkey is told with each request where it goes."""
    return {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{vendor}/v1"}
