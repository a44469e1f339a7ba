"""aiosmtpd on loopback: prints each mail that it takes as a line of JSON, as Python's own parser reads it.

busy@ is put off, nobody@ is unknown, grey@ is sent away once. Usage: server.py PORT
"""

import json
import sys
import threading
from email import policy
from email.parser import BytesParser

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

USER, PASSWORD = b"user", "пароль 7".encode()


class Handler:
    def __init__(self):
        self.greylisted = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        local = address.split("@")[0]
        if local == "busy":
            return "451 4.3.0 busy"
        if local == "nobody":
            return "550 5.1.1 no such user"
        if local == "grey" and address not in self.greylisted:
            self.greylisted.add(address)
            return "450 4.2.0 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = BytesParser(policy=policy.default).parsebytes(envelope.original_content)
        text, html = mail.get_body(("plain",)), mail.get_body(("html",))
        print(json.dumps({
            "envelope_from": envelope.mail_from,
            "envelope_to": envelope.rcpt_tos,
            "subject": mail["subject"],
            "from": str(mail["from"]),
            "to": str(mail["to"]),
            "cc": str(mail["cc"]),
            "message_id": mail["message-id"],
            "auto_submitted": mail["auto-submitted"],
            "text": text and text.get_content(),
            "html": html and html.get_content(),
            "defects": [str(defect) for defect in mail.defects],
        }), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == USER and data.password == PASSWORD)


Controller(
    Handler(), hostname="127.0.0.1", port=int(sys.argv[1]),
    authenticator=authenticate, auth_required=True, auth_require_tls=False,
).start()
threading.Event().wait()
