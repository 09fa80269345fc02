"""The gateways of others, from the package registries, each installed for itself below `.venv/bench`."""

import json
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
        (home / "package.json").write_text(json.dumps(_PACKAGE))
        for step in _STEPS[name]:
            subprocess.run([part.format(home=home) for part in step], cwd=home, check=True, stdout=subprocess.DEVNULL)
        (home / ".installed").touch()
    return [part.format(home=home) for part in _PROGRAMS[name]]


_PACKAGE: Final = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": PORTKEY},
    # The newest that its range allows (1.19.19) makes it answer every stream with 500 on Node 20 ("immutable" headers).
    "overrides": {"@hono/node-server": "1.3.3"},
}
_STEPS: Final[dict[str, list[tuple[str, ...]]]] = {
    "litellm": [
        (sys.executable, "-m", "venv", "{home}/venv"),
        ("{home}/venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", f"litellm[proxy]=={LITELLM}"),
    ],
    "portkey": [
        ("npm", "install", "--no-audit", "--no-fund", "--loglevel", "error"),
    ],
}
_PROGRAMS: Final[dict[str, list[str]]] = {
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
