"""The TLS of the web server, made from what a web-config file asks for."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from daemon.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.web.web_config import TlsServer

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENTS = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def tls_context(wanted: TlsServer, folder: Path) -> ssl.SSLContext:
    """Build the context, paths being relative to `folder`; ConfigError names the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[wanted.min_version]
    context.maximum_version = _VERSIONS[wanted.max_version]
    context.set_alpn_protocols(["http/1.1"])
    if wanted.ciphers:
        context.set_ciphers(wanted.ciphers)
    if not wanted.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    certificate, key = folder / wanted.cert_file, folder / wanted.key_file
    _check_readable(certificate, key)
    try:
        # Without a password at hand OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"cannot use the certificate {certificate} with the key {key}: {_words(error)}") from error
    if wanted.client_ca_file:
        authority = folder / wanted.client_ca_file
        _check_readable(authority)
        try:
            context.load_verify_locations(authority)
        except ssl.SSLError as error:
            raise ConfigError(f"cannot use {authority}, the client_ca_file: {_words(error)}") from error
        context.verify_mode = _CLIENTS[wanted.client_auth_type]
    return context


def _check_readable(*files: Path) -> None:
    """Say which file is missing: OpenSSL says only that one is."""
    for file in files:
        try:
            file.open("rb").close()
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}") from error


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return "it is no PEM file, or its key has a password"
