"""TLS of the server: the context for a web config, and new certificates for a context in use."""

from __future__ import annotations

import ssl

from remediator.errors import RemediatorError
from remediator.web.web_config import ClientAuth, ServerTlsVersion, TlsServer

_VERSIONS = {ServerTlsVersion.TLS12: ssl.TLSVersion.TLSv1_2, ServerTlsVersion.TLS13: ssl.TLSVersion.TLSv1_3}
_CLIENTS = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRED: ssl.CERT_REQUIRED,
}


def tls_context(tls: TlsServer, present: ssl.SSLContext | None) -> ssl.SSLContext:
    """The context for a config. An existing context gets the new certificate, for new connections."""
    try:
        # Try a new context first: a wrong certificate must not damage the one in use.
        fresh = _fill(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)
        return fresh if present is None else _fill(present, tls)
    except (OSError, ssl.SSLError) as error:
        raise RemediatorError(f"cannot set up TLS with {tls.cert_file} and {tls.key_file}: {error}") from None


def _fill(context: ssl.SSLContext, tls: TlsServer) -> ssl.SSLContext:
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.load_cert_chain(tls.cert_file, tls.key_file)
    if tls.client_ca_file:
        context.load_verify_locations(tls.client_ca_file)
    context.verify_mode = _CLIENTS[tls.client_auth_type]
    return context
