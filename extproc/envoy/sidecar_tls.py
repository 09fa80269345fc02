"""Mutual TLS from Envoy to the sidecar, with files that Envoy watches.

Rule: no key is written anywhere, only the names of files. Envoy reads them again when they (or the link to their
directory) are replaced by a rename, but only as secrets that files of their own describe (SDS, one secret in each):
files that a bootstrap names are read once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import json

from betterproto2 import Casing
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.service.discovery import v3 as discovery
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.envoy.parts import is_ip, packed

_CERTIFICATE = "sidecar_tls_certificate"
_AUTHORITY = "sidecar_tls_authority"


@dataclass(frozen=True, slots=True)
class SidecarTls:
    """Files on Envoy's machine. `secrets`: the directory of the files that `secrets` gives. `names`: those in the
    sidecars' certificates."""

    ca: str
    certificate: str
    key: str
    names: tuple[str, ...]
    secrets: str


def transport_socket(options: SidecarTls) -> core.TransportSocket:
    """Of the sidecar's cluster."""
    name = options.names[0]
    context = tls.UpstreamTlsContext(
        sni="" if is_ip(name) else name,
        common_tls_context=tls.CommonTlsContext(
            alpn_protocols=["h2"],  # gRPC ends a connection that did not say so
            tls_certificate_sds_secret_configs=[_watched(options, _CERTIFICATE)],
            combined_validation_context=tls.CommonTlsContextCombinedCertificateValidationContext(
                default_validation_context=tls.CertificateValidationContext(
                    match_typed_subject_alt_names=_names(options.names)
                ),
                validation_context_sds_secret_config=_watched(options, _AUTHORITY),
            ),
        ),
    )
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=packed(context))


def _names(names: Sequence[str]) -> list[tls.SubjectAltNameMatcher]:
    kind = tls.SubjectAltNameMatcherSanType
    return [
        tls.SubjectAltNameMatcher(
            san_type=kind.IP_ADDRESS if is_ip(name) else kind.DNS, matcher=matcher.StringMatcher(exact=name)
        )
        for name in names
    ]


def _watched(options: SidecarTls, name: str) -> tls.SdsSecretConfig:
    return tls.SdsSecretConfig(
        name=name,
        sds_config=core.ConfigSource(
            resource_api_version=core.ApiVersion.V3,
            path_config_source=core.PathConfigSource(path=f"{options.secrets}/{name}.json"),
        ),
    )


def secrets(options: SidecarTls) -> dict[str, str]:
    """The files of the directory `options.secrets`: their names and JSON texts."""
    certificate = tls.TlsCertificate(
        certificate_chain=core.DataSource(filename=options.certificate),
        private_key=core.DataSource(filename=options.key),
    )
    authority = tls.CertificateValidationContext(trusted_ca=core.DataSource(filename=options.ca))
    found = (
        tls.Secret(name=_CERTIFICATE, tls_certificate=certificate),
        tls.Secret(name=_AUTHORITY, validation_context=authority),
    )
    return {f"{secret.name}.json": _response(secret) for secret in found}


def _response(secret: tls.Secret) -> str:
    response = discovery.DiscoveryResponse(resources=[packed(secret)])
    return json.dumps(response.to_dict(casing=Casing.SNAKE), indent=2, ensure_ascii=False) + "\n"
