#!/usr/bin/env bash
# Guess: the Anthropic SDK for Python takes an `httpx.Client` of one's own (`http_client=`), as it did for years and as
# gateways' tests, proxies and tracing libraries give it one.
# Seen: anthropic 2.14.0 is built on the package `httpx2`; a client of `httpx` is refused with a TypeError when the SDK's
# client is made, and whatever patches `httpx` (mock transports, instrumentation) sees none of its requests.
# Source: the package itself, from PyPI, 2026-11-30. Nothing is sent anywhere.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check anthropic==2.14.0 httpx==0.28.1
"$dir/venv/bin/python" - <<'PYTHON'
from importlib.metadata import requires, version
import sys

import anthropic
import httpx

print("anthropic", version("anthropic"), "httpx", version("httpx"))
needed = [one for one in requires("anthropic") if one.startswith("httpx")]
print("it requires:", needed)
try:
    anthropic.Anthropic(api_key="none", http_client=httpx.Client())
except TypeError as error:
    print("TypeError:", error)
else:
    sys.exit("a client of httpx is taken: the behaviour has changed")
own = anthropic.Anthropic(api_key="none", http_client=anthropic.DefaultHttpxClient())
kind = next(one for one in type(own._client).__mro__ if one.__name__ == "Client")
print("its own client is a", f"{kind.__module__}.{kind.__name__}")
if not kind.__module__.startswith("httpx2") or not any(one.startswith("httpx2") for one in needed):
    sys.exit("the behaviour has changed")
PYTHON
