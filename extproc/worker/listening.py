"""Where the gRPC server listens: an address or a Unix socket, in the clear or with mutual TLS.

Rule: whoever can talk to this port decides what leaves with the vendors' keys, so it opens no wider than it was told:
a socket is its owner's until a mode says otherwise, and with TLS a client without a certificate is refused.
"""

import os
import ssl

import grpc
import structlog

from extproc.worker.places import OWNER_ONLY, UNIX, Tls
from extproc.worker.streams import Server

log = structlog.get_logger("extproc.listening")


def bind(server: Server, address: str, *, tls: Tls | None = None, socket_mode: int = OWNER_ONLY) -> int:
    """Let the server listen on `host:port` or `unix:PATH`; the port. Raises `OSError` with one line that says why.

    A socket takes the place of the one that a predecessor still serves: it is made beside it and renamed onto it, since
    gRPC removes the path that it knows when it stops.
    """
    path = address.removeprefix(UNIX) if address.startswith(UNIX) else None
    own = f"{path}.{os.getpid()}"
    credentials = None if tls is None else _Certificates(tls).credentials()
    # Of the whole process, but there is no other thread of ours yet, and the socket is never open to others.
    mask = os.umask(0o777 & ~OWNER_ONLY)
    try:
        port = server.listen(address if path is None else f"{UNIX}{own}", credentials)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from None
    finally:
        os.umask(mask)
    if path is not None:
        os.chmod(own, socket_mode)
        os.rename(own, path)
    return port


class _Certificates:
    """The files of a `Tls`, read again for the first handshake after they changed."""

    def __init__(self, tls: Tls) -> None:
        self._files = (tls.certificate, tls.key, tls.client_ca)
        self._seen = self._versions()
        self._first = self._read()

    def credentials(self) -> "grpc.ServerCredentials":
        return grpc.dynamic_ssl_server_credentials(self._first, self._changed, require_client_authentication=True)

    def _versions(self) -> list[tuple[int, int, int]]:
        """What changes when a file does, be it written over, renamed upon or linked to another."""
        try:
            stats = [file.stat() for file in self._files]
        except OSError as error:
            raise OSError(f"the certificate file {error.filename} cannot be read: {error.strerror}") from None
        return [(s.st_ino, s.st_mtime_ns, s.st_size) for s in stats]

    def _read(self) -> "grpc.ServerCertificateConfiguration":
        """Raises `OSError` for files that cannot be used, or not together: a new certificate may be there before its
        key."""
        certificate, key, ca = self._files
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key, password=lambda: b"")  # else OpenSSL would ask on the terminal
            context.load_verify_locations(ca)
            chain, secret, authority = (file.read_bytes() for file in self._files)
        except (ssl.SSLError, ValueError) as error:
            what = error.reason if isinstance(error, ssl.SSLError) else "PEM"
            raise OSError(f"the certificate {certificate}, its key and {ca} cannot be used: {what}") from None
        except OSError as error:
            raise OSError(f"the certificate file {error.filename} cannot be read: {error.strerror}") from None
        return grpc.ssl_server_certificate_configuration([(secret, chain)], root_certificates=authority)

    def _changed(self) -> "grpc.ServerCertificateConfiguration | None":
        """Asked by gRPC, in a thread of its own, before every handshake; None: nothing new."""
        try:
            versions = self._versions()
            if versions == self._seen:
                return None
            configuration = self._read()
        except OSError as error:
            log.warning("certificates not reloaded, the old ones stay", reason=str(error))
            return None
        self._seen = versions
        log.info("certificates reloaded", certificate=str(self._files[0]))
        return configuration
