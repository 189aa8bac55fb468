"""A service as people write them with Python's standard library: `/` says who answers, `/health` how it is.

While the file `sick` is in its folder, `/health` is answered 503; otherwise with the file `report.json`.
"""

import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

folder, port = sys.argv[1], int(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        if self.path == "/health":
            return self.health()
        if self.path == "/slow":
            time.sleep(1)
        self.answer(200, "text/plain", b"python %d\n" % port)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200, "text/plain", body)

    def health(self):
        if os.path.exists(os.path.join(folder, "sick")):
            return self.answer(503, "text/plain", b"sick\n")
        with open(os.path.join(folder, "report.json"), "rb") as report:
            self.answer(200, "application/json", report.read())

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


Server(("127.0.0.1", port), Handler).serve_forever()
