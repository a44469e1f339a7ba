"""aiosmtpd on loopback: prints each mail that it takes as a line of JSON, as Python's own parser reads it.

nobody@ is unknown, grey@ is sent away once. Usage: server.py PORT
"""

import json
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from parsed import parsed

USER, PASSWORD = b"user", "пароль 7".encode()


class Handler:
    def __init__(self):
        self.greylisted = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        local = address.split("@")[0]
        if local == "nobody":
            return "550 5.1.1 no such user"
        if local == "grey" and address not in self.greylisted:
            self.greylisted.add(address)
            return "450 4.2.0 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        envelopes = {"envelope_from": envelope.mail_from, "envelope_to": envelope.rcpt_tos}
        print(json.dumps(envelopes | parsed(envelope.original_content)), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == USER and data.password == PASSWORD)


Controller(
    Handler(), hostname="127.0.0.1", port=int(sys.argv[1]),
    authenticator=authenticate, auth_required=True, auth_require_tls=False,
).start()
threading.Event().wait()
