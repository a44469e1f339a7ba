"""A name server and a portal on 127.0.0.1, for tests/packaging/static:

    portal.py PORT CERTIFICATE KEY

The name server (UDP port 53) says 127.0.0.1 to each name, but knows none under .invalid. The portal speaks TLS and
answers each request with 404. A line on standard output says that both listen.
"""

import http.server
import socket
import ssl
import struct
import sys
import threading

A, NO_SUCH_NAME = 1, 3


def answer(question):
    """What the name server says: to a question for an address that of this machine, to others nothing."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]])
        at += 1 + question[at]
    name, (kind,) = question[12 : at + 5], struct.unpack(">H", question[at + 1 : at + 3])
    found = labels[-1] != b"invalid"
    # The name as a pointer to the question, IN, for 60 s.
    record = struct.pack(">HHHIH", 0xC00C, A, 1, 60, 4) + bytes([127, 0, 0, 1]) if found and kind == A else b""
    flags = 0x8180 if found else 0x8180 | NO_SUCH_NAME
    return question[:2] + struct.pack(">HHHHH", flags, 1, bool(record), 0, 0) + name + record


def serve_names(udp):
    while True:
        question, peer = udp.recvfrom(512)
        udp.sendto(answer(question), peer)


class Portal(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_error(404)

    do_GET = do_POST

    def log_message(self, *_):
        pass


def main(port, certificate, key):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 53))
    threading.Thread(target=serve_names, args=(udp,), daemon=True).start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    portal = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Portal)
    portal.socket = context.wrap_socket(portal.socket, server_side=True)
    print("ready", flush=True)
    portal.serve_forever()


main(*sys.argv[1:])
