"""An HTTP proxy before a real S3 server that does to requests what networks and servers do on a bad day."""

import http.client
import random
import socket
import ssl
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

KINDS = ("drop", "lose", "503", "truncate", "flip", "stall")
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>slow down</Message></Error>"


class FaultProxy(ThreadingHTTPServer):
    """Passes requests on; `choose(method, path)` names the fault to make of each, or None.

    | fault | what the client sees |
    |---|---|
    | drop | the connection closes before the request got anywhere |
    | lose | the server does it, the answer is lost |
    | 503 | a busy server, in S3's XML or a balancer's HTML |
    | truncate | half of the answer |
    | flip | one bit of the body, sent or received, is another |
    | stall | nothing, for longer than it waits |
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: str, stall: float = 1.3, seed: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "https" if tls else "http"
        if tls:  # the handshake is the handler's, not the accepting thread's
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.upstream, self.stall = upstream.removeprefix("http://"), stall
        self.random, self.lock = random.Random(seed), threading.Lock()
        self.made: Counter[str] = Counter()
        self.hit: defaultdict[str, list[str]] = defaultdict(list)  # by path, without the bucket
        self.requests = 0
        self.choose: Callable[[str, str], str | None] = lambda method, path: None
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def at_rate(self, rate: float) -> None:
        """Makes a fault of any kind of this share of the requests."""
        self.choose = lambda method, path: self.random.choice(KINDS) if self.random.random() < rate else None

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are cut off are the point here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proxy = self.server
        with proxy.lock:
            proxy.requests += 1
            fault = proxy.choose(self.command, self.path)
            flip_sent = bool(body) and (self.command == "PUT" or proxy.random.random() < 0.5)
            place = proxy.random.random()
        flipped = False
        if fault == "flip" and flip_sent:
            body, flipped = _flip(body, place), True
        status, reason, headers, answer = 503, "Service Unavailable", [("Content-Type", "application/xml")], SLOW_DOWN
        if fault == "503" and place < 0.5:
            headers, answer = [("Content-Type", "text/html")], b"<html>busy</html>"
        elif fault not in ("503", "drop"):
            status, reason, headers, answer = self._forward(body)
        if fault == "flip" and not flipped:
            if answer and self.command != "HEAD":
                answer, flipped = _flip(answer, place), True
            if not flipped:
                fault = None
        if fault:
            with proxy.lock:
                proxy.made[fault] += 1
                proxy.hit[unquote(urlsplit(self.path).path).strip("/").partition("/")[2]].append(fault)
        if fault == "stall":
            time.sleep(proxy.stall)
        if fault in ("drop", "lose", "stall"):
            return self._cut()
        head = f"HTTP/1.1 {status} {reason}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
        if self.command != "HEAD":
            head += f"Content-Length: {len(answer)}\r\n"
        data = head.encode("latin-1") + b"\r\n" + (answer if self.command != "HEAD" else b"")
        if fault == "truncate":
            self.wfile.write(data[: len(data) - max(1, len(answer) // 2)])
            return self._cut()
        self.wfile.write(data)

    def _forward(self, body: bytes) -> tuple[int, str, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        response = upstream.getresponse()
        answer = response.read()
        skipped = ("connection", "transfer-encoding", *(["content-length"] if self.command != "HEAD" else []))
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in skipped]
        upstream.close()
        return response.status, response.reason, headers, answer

    def _cut(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any

    def log_message(self, *args: object) -> None:
        """Nothing."""


def _flip(data: bytes, place: float) -> bytes:
    at = int(place * len(data))
    return data[:at] + bytes([data[at] ^ 1 << int(place * 997) % 8]) + data[at + 1 :]
