"""A merchant in Python: checks the signature as the document says, and hangs up early.

Arguments: secret, then seconds idle and requests to each connection. After the last of them it
closes the connection without having said that it would.
"""

import base64
import hashlib
import hmac
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET, IDLE_SECONDS, REQUESTS_MAX = sys.argv[1].encode(), float(sys.argv[2]), int(sys.argv[3])


def is_signed(message):
    sign = message.pop("sign")
    canonical = "&".join(f"{name}={message[name]}" for name in sorted(message))
    digest = hmac.new(SECRET, canonical.encode(), hashlib.sha256).digest()
    return sign == base64.b64encode(digest).decode()


class Merchant(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS

    def setup(self):
        super().setup()
        self.served = 0
        print("connection", flush=True)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        result = "SUCCESS" if is_signed(message) else "FAIL"
        body = json.dumps({"transResult": result}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.served += 1
        self.close_connection = self.served >= REQUESTS_MAX

    def log_message(self, format, *arguments):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A caller may hang up."""


server = Server(("127.0.0.1", 0), Merchant)
print(f"listening on {server.server_address[1]}", flush=True)
server.serve_forever()
