"""A small S3 server on loopback, enough for `--cassettes s3://…`: objects, ETags, conditions, listings."""

from __future__ import annotations

import hashlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "fleet-secret-key-for-tests-0123456789"
PAGE = 2  # objects of one listing, so that every test sees several pages


class Store:
    """The objects, and what was asked.

    Attributes:
        objects: Contents by bucket and key, as `bucket/key`.
        asked: Methods and paths of all requests.
        headers: Their header fields.
        answered: The statuses of the answers.
        page: Objects of one listing.
        away: Whether every request gets a 503.
        bare: Whether listings have ETags without quotes, as Azure's.
        before_get: Called with the path before an object is sent.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.headers: list[str] = []
        self.answered: list[int] = []
        self.away = False
        self.page = PAGE
        self.bare = False
        self.before_get: Any = lambda _path: None
        self.lock = threading.Lock()
        self.url = ""

    @property
    def environ(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "fleet-access-key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
        }

    def names(self, part: str = "") -> list[str]:
        return sorted(name for name in self.objects if part in name)


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324 - S3's ETag


@contextmanager
def s3_server(host: str = "127.0.0.1") -> Iterator[Store]:  # noqa: C901 - a class in it, each method of which is short
    store = Store()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would wait 40 ms for the client's acknowledgement

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            store.answered.append(status)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            path, query = unquote(parts.path).lstrip("/"), parse_qs(parts.query)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            store.asked.append(f"{self.command} {path}")
            store.headers.append(str(self.headers))
            if store.away:
                self.answer(503)
            elif self.command == "GET" and "list-type" in query:
                self.listing(path, query)
            elif self.command in {"GET", "HEAD"}:
                store.before_get(path)
                self.object(path)
            elif self.command == "PUT":
                self.put(path, body)
            else:
                self.delete(path, body)

        do_GET = do_HEAD = do_PUT = do_POST = handle_one  # noqa: N815 - names of the base class

        def object(self, path: str) -> None:
            data = store.objects.get(path)
            if data is None:
                self.answer(404)
            elif self.headers.get("If-None-Match") == etag(data):
                self.answer(304, ETag=etag(data))
            else:
                self.answer(200, data, ETag=etag(data), Last_Modified="Sat, 01 Nov 2025 00:00:00 GMT")

        def put(self, path: str, body: bytes) -> None:
            with store.lock:
                known = store.objects.get(path)
                wanted = self.headers.get("If-Match")
                taken = self.headers.get("If-None-Match") == "*" and known is not None
                if taken or (wanted is not None and (known is None or etag(known) != wanted)):
                    self.answer(412)
                    return
                store.objects[path] = body
            self.answer(200, ETag=etag(body))

        def delete(self, bucket: str, body: bytes) -> None:
            keys = re.findall(r"<Key>([^<]*)</Key>", body.decode())
            with store.lock:
                for key in keys:
                    store.objects.pop(f"{bucket}/{unescape(key)}", None)
            rows = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self.answer(200, f"<DeleteResult>{rows}</DeleteResult>".encode(), Content_Type="application/xml")

        def listing(self, bucket: str, query: dict[str, list[str]]) -> None:
            prefix = query.get("prefix", [""])[0]
            after = query.get("continuation-token", [""])[0]
            wanted = f"{bucket}/{prefix}"
            with store.lock:
                keys = [name for name in store.objects if name.startswith(wanted)]
            keys = sorted(key for name in keys if (key := name.partition("/")[2]) > after)
            page, more = keys[: store.page], len(keys) > store.page

            def shown(data: bytes) -> str:
                return escape(etag(data).strip('"') if store.bare else etag(data))

            rows = "".join(
                f"<Contents><Key>{escape(key)}</Key><LastModified>2025-11-01T00:00:00.000Z</LastModified>"
                f"<ETag>{shown(store.objects[f'{bucket}/{key}'])}</ETag>"
                f"<Size>{len(store.objects[f'{bucket}/{key}'])}</Size></Contents>"
                for key in page
            )
            token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
            self.answer(
                200,
                f"<ListBucketResult><IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{rows}"
                "</ListBucketResult>".encode(),
                Content_Type="application/xml",
            )

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256  # of connections that wait: a fleet opens many at once

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of a client that was killed."""

    server = Server((host, 0), Handler)
    store.url = f"http://{host}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
