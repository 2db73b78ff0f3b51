"""Built-in defaults of nginx, by version: data only.

From the module references and CHANGES on nginx.org. What a build changes (the account, paths of logs) is not in here.
"""

from __future__ import annotations

from .web_settings import Default, Version

FIRST: Version = (1, 0, 5)
"""Oldest version that the table speaks of."""

LAST: Version = (1, 28, 99)
"""Newest version that the table speaks of."""

TLS = (
    Default("ssl_protocols", "SSLv3 TLSv1 TLSv1.1 TLSv1.2", (1, 1, 13), (1, 9, 1)),
    Default("ssl_protocols", "TLSv1 TLSv1.1 TLSv1.2", (1, 9, 1), (1, 23, 4)),
    Default("ssl_protocols", "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3", (1, 23, 4), (1, 27, 3)),
    Default("ssl_protocols", "TLSv1.2 TLSv1.3", (1, 27, 3)),
    Default("ssl_ciphers", "HIGH:!aNULL:!MD5"),
    Default("ssl_prefer_server_ciphers", "off"),
    Default("ssl_verify_client", "off"),
    Default("ssl_session_tickets", "on", (1, 5, 9)),
    Default("ssl_early_data", "off", (1, 15, 3)),
)
"""Of a server that speaks TLS."""

SERVER = (
    Default("autoindex", "off"),
    Default("auth_basic", "off"),
    Default("client_body_timeout", "60s"),
    Default("client_header_timeout", "60s"),
    Default("client_max_body_size", "1m"),
    Default("dav_methods", "off"),
    Default("disable_symlinks", "off", (1, 1, 15)),
    Default("keepalive_requests", "100", (1, 0, 5), (1, 19, 10)),
    Default("keepalive_requests", "1000", (1, 19, 10)),
    Default("keepalive_timeout", "75s"),
    Default("large_client_header_buffers", "4 8k"),
    Default("root", "html"),
    Default("send_timeout", "60s"),
    Default("server_tokens", "on"),
    Default("ssi", "off"),
)
"""Of a server of the http block."""
