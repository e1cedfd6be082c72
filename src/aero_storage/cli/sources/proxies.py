"""The proxy for a URL, by the variables that curl takes: http_proxy, https_proxy, all_proxy and no_proxy."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import urllib3

from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.http.shown_urls import shown_url

_SCHEMES = frozenset({"http", "https"})


def pools_for(url: str, **options: Any) -> urllib3.PoolManager:
    """Return pools for a URL, through the proxy of the environment. Raises OperatorError if that cannot be asked."""
    proxy = _proxy_for(url)
    if proxy is None:
        return urllib3.PoolManager(**options)
    parts = urlsplit(proxy)
    if parts.scheme.lower() not in _SCHEMES or not parts.hostname:
        raise OperatorError(
            f"{printable(shown_url(proxy))} is named as a proxy by the environment, and is no http(s) URL of one; "
            "unset the variable, or name the server in no_proxy"
        )
    headers = {}
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=user)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return urllib3.ProxyManager(address, proxy_headers=headers, **options)


def _proxy_for(url: str) -> str | None:
    parts, proxies = urlsplit(url), getproxies_environment()
    host = parts.hostname or ""
    if proxy_bypass(host if parts.port is None else f"{host}:{parts.port}"):
        return None
    proxy = proxies.get(parts.scheme.lower()) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy or None
