"""Remedies shared by several checks. Directives are nginx's, the usual proxy."""

from __future__ import annotations

SLICES = (
    "or cache slices, so that nginx makes no ranges of its own: slice 1m; proxy_set_header Range $slice_range; "
    "proxy_cache_key $uri$slice_range; etc/nginx/aero-storage-cache.conf, which comes with the daemon, does all that "
    "this takes"
)
RANGE = (
    "let the proxy pass Range and If-Range on; nginx does, unless proxy_cache is on for the location: "
    "proxy_cache off; proxy_set_header Range $http_range; proxy_set_header If-Range $http_if_range; "
    f"{SLICES}"
)
NO_TRANSFORM = (
    "let nothing change the bytes on the way; in nginx, for the location: gzip off; gzip_vary off; (brotli off; "
    "zstd off; where those modules are loaded), and no sub_filter; at a CDN, switch compression and optimisation off "
    "for /v1/images/"
)
KEEP_HEADERS = (
    "let the proxy pass the daemon's headers on as they are; in nginx look for proxy_hide_header and add_header in "
    "the location, and take them out"
)
ONE_VOICE = (
    "let one of them speak: take the proxy's own out (in nginx: add_header), or hide the daemon's "
    "(proxy_hide_header); the daemon's are enough"
)
ROUTE = (
    "send /v1/, /healthz, /readyz and /version to the daemon: in nginx, "
    "location /v1/ { proxy_pass http://127.0.0.1:8080; } "
    "without a path after the port, and no try_files or error_page that answers with a page; "
    "etc/nginx/aero-storage.conf, which comes with the daemon, is a whole one"
)
NO_BUFFERS = (
    "in nginx, for the location: proxy_buffering off; proxy_max_temp_file_size 0; at a CDN, raise what it fetches "
    "at once, or let it pass ranges through"
)
UNCACHED_ERRORS = (
    "in nginx: proxy_cache_valid 200 206 1h; (not any, 404 or 416), and no expires or add_header Cache-Control"
)
LOGS = "the log of the daemon and of the proxy's errors say why; the daemon's line has the time and the path"
KEEP_OUT = (
    "empty the proxy's cache, and let it keep nothing of private images (the daemon says private, no-store), or ask "
    "the lease route first; let it add no Authorization of its own"
)
PASS_ON = "let the proxy pass Authorization, Cookie and the query on as they are"  # noqa: S105 - no password
