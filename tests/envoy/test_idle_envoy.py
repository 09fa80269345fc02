"""A vendor that closes a kept connection between Envoy's choice of it and the first byte: it has seen nothing."""

import http.client
from pathlib import Path
import socket
import threading
import urllib.request

import pytest

from extproc.config.config import Config
from extproc.envoy.bootstrap import Options, bootstrap
from extproc.envoy.placement import Placement
from tests.contract.processes import PATIENCE, until
from tests.envoy.scripted import OK, Sidecar, phase_of, route_to, serving


class Keeper:
    """Answers each request on a connection that it keeps, until `close` takes away all that there are."""

    def __init__(self) -> None:
        self.requests = 0
        self._kept: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._server.accept()
            self._kept.append(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            while file.readline():
                length = 0
                while line := file.readline().strip().lower():
                    length = (
                        int(line.removeprefix(b"content-length:")) if line.startswith(b"content-length") else length
                    )
                file.read(length)
                self.requests += 1
                connection.sendall(OK)

    def close(self) -> None:
        for connection in self._kept:
            connection.shutdown(socket.SHUT_RDWR)
        self._kept.clear()


@pytest.mark.parametrize("placement", ["upstream", "listener"])
def test_what_the_vendor_has_not_seen_is_sent_again(tmp_path: Path, placement: Placement) -> None:
    sidecar, vendor = Sidecar(), Keeper()
    config = Config.model_validate(
        {"providers": [{"id": "vendor", "type": "openai", "endpoint": f"http://127.0.0.1:{vendor.port}"}]}
    )
    options = Options(
        port=0, admin_port=0, sidecars=(f"127.0.0.1:{sidecar.port}",), access_log=None, placement=placement
    )
    ordinary = sidecar.script = route_to("vendor")
    with serving(bootstrap(config, options), tmp_path) as envoy:

        def ask() -> int:
            client = http.client.HTTPConnection("127.0.0.1", envoy.listener_port, timeout=PATIENCE)
            client.request("POST", "/v1/chat/completions", b"{}")
            status = client.getresponse().status
            client.close()
            return status

        def connections() -> int:
            url = f"http://{envoy.admin_address}/stats?filter=cluster.vendor.upstream_cx_active"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            return int(opener.open(url).read().rpartition(b" ")[2])

        def closing(request):  # type: ignore[no-untyped-def]
            if phase_of(request) == "request_body":
                sidecar.script = ordinary
                vendor.close()
                until(lambda: connections() == 0, "Envoy knows that the connection is gone")
            return ordinary(request)

        assert ask() == 200
        assert connections() == 1
        sidecar.script = closing
        assert ask() == 200
    assert vendor.requests == 2
    sidecar.server.stop(0)
