"""docker-py's HTTP over a unix socket, with one pool for all paths and no socket left open by a failed connect."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Connection(UnixHTTPConnection):
    def connect(self) -> None:
        """Connect, or leave nothing behind: while the engine is down this fails every few seconds."""
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connecting.settimeout(self.timeout)
            connecting.connect(self.unix_socket)
        except OSError:
            connecting.close()
            raise
        self.sock = connecting


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> _Connection:  # type: ignore[override]  # urllib3 declares a protocol that it meets itself
        return _Connection(self.base_url, self.socket_path)


class UnixSocketAdapter(UnixHTTPAdapter):
    """Carries the requests of one client to the engine at `socket_path`."""

    def __init__(self, socket_path: str) -> None:
        super().__init__(f"http+unix://{socket_path}")
        # docker-py keeps a pool for each URL, so the connection to one container would never serve another.
        self._pool = _Pool("http+docker://localhost", self.socket_path, maxsize=1)

    def get_connection(self, url: str | bytes, proxies: Mapping[str, str] | None = None) -> _Pool:
        """Give the one pool."""
        del url, proxies
        return self._pool

    def close(self) -> None:
        """Close all connections."""
        super().close()
        self._pool.close()
