"""What the bootstrap needs beside the configuration: addresses and paths of this installation."""

from dataclasses import dataclass

from extproc.envoy.placement import Placement
from extproc.envoy.sidecar_tls import SidecarTls


@dataclass(frozen=True, slots=True)
class Options:
    """`sidecars`: `host:port` or `unix:PATH` of each gRPC server. `sidecar_tls`: how they are met, None: in the clear.
    `access_log`: None turns it off. `ca_file`: the system's CA bundle.
    `stats_host`, `stats_port`: where Envoy answers `/ready` and `/stats/prometheus`; port 0: nowhere.
    `xds_directory`: where Envoy reads listener, routes and providers while it runs; None has them in the bootstrap.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    admin_host: str = "127.0.0.1"
    admin_port: int = 9901
    stats_host: str = "127.0.0.1"
    stats_port: int = 0
    sidecars: tuple[str, ...] = ("127.0.0.1:9000",)
    sidecar_tls: SidecarTls | None = None
    access_log: str | None = "/dev/stdout"
    ca_file: str = "/etc/ssl/certs/ca-certificates.crt"
    placement: Placement = "upstream"
    xds_directory: str | None = None
