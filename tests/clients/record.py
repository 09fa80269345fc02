"""What the clients send, written down: `python -m tests.clients.record [CLIENT …]` makes `recorded/` anew.

Rule: shapes are kept, long texts are cut: what matters is which members there are, not the prompts of others.
"""

from collections.abc import Iterator
import contextlib
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
from pathlib import Path
import re
import sys
import tempfile
import threading
from typing import Any

from tests.clients import programs
from tests.clients.programs import Place, call
from tests.contract import processes

RECORDED = programs.HERE / "recorded"
LONGEST = 160
KEPT = ("anthropic-version", "anthropic-beta", "content-type", "accept", "user-agent")


def cut(value: Any) -> Any:
    """JSON with its long texts cut, but for those that hold a script; folders of one run get a name of all."""
    match value:
        case dict():
            return {name: cut(one) for name, one in value.items()}
        case list():
            return [cut(one) for one in value]
        case str() if "[[sim:" not in value and len(value) > LONGEST:
            value = f"{value[:LONGEST]}…"
    return re.sub(r"/tmp/[\w./-]*?/home", "/home/user", value) if isinstance(value, str) else value


@contextlib.contextmanager
def recording(port: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A proxy before the gateway at `port`: its URL, and what passes."""
    seen: list[dict[str, Any]] = []

    class Proxy(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {k.lower(): v for k, v in self.headers.items()}
            if body:
                kept = {name: headers[name] for name in KEPT if name in headers}
                seen.append({"path": self.path, "headers": kept, "body": cut(json.loads(body))})
            way = HTTPConnection("127.0.0.1", port, timeout=60)
            way.request(self.command, self.path, body or None, {k: v for k, v in headers.items() if k != "host"})
            answer = way.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            self.send_header("connection", "close")
            self.end_headers()
            with contextlib.suppress(OSError):
                while piece := answer.read1(65536):
                    self.wfile.write(piece)
            self.close_connection = True

        do_GET = do_POST = do_HEAD = _pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def play(client: str, at: Place) -> programs.Done:
    """A run of a client that calls a tool."""
    note = str(at.work / "note.txt")
    match client:
        case "codex":
            patch = {"input": "*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch\n"}
            steps = (call("exec_command", {"cmd": "cat note.txt"}), call("apply_patch", patch))
            return at.codex(f"Read the note, then add a file. {' '.join(steps)}")
        case "claude":
            return at.claude(f"Read the note. {call('Read', {'file_path': note})}", "Read")
        case _:
            return at.qwen_code(f"Read the note. {call('read_file', {'file_path': note})}")


def main() -> None:
    """Needs the clients, and what `extproc run` needs."""
    if (why := programs.installed()) is not None:
        raise SystemExit(why)
    with tempfile.TemporaryDirectory() as name, processes.simulator(Path(name) / "simulator") as url:
        directory = Path(name)
        config = (programs.HERE / "gateway.yaml").read_text().replace("SIMULATOR", url).replace("CLOSED", url)
        (directory / "gateway.yaml").write_text(config)
        with processes.gateway(directory, "--config", str(directory / "gateway.yaml")) as gateway:
            for client in sys.argv[1:] or ("codex", "claude", "qwen-code"):
                home = directory / client / "home"
                (home / "work").mkdir(parents=True)
                (home / "work" / "note.txt").write_text("the secret is 4711\n")
                with recording(gateway.port) as (base, seen):
                    done = play(client, Place(home, f"{base}/qwen"))
                print(client, done.code, [(one["path"], len(json.dumps(one))) for one in seen])
                if done.code == 0:
                    RECORDED.mkdir(exist_ok=True)
                    text = json.dumps(seen, ensure_ascii=False, indent=1)
                    (RECORDED / f"{client}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
