"""A mail as Python's own parser reads it, as a line of JSON. Usage: parsed.py < MAIL"""

import json
import sys
from email import policy
from email.parser import BytesParser


def parsed(source):
    mail = BytesParser(policy=policy.default).parsebytes(source)
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    return {
        "subject": mail["subject"],
        "from": str(mail["from"]),
        "to": str(mail["to"]),
        "cc": str(mail["cc"]),
        "message_id": mail["message-id"],
        "auto_submitted": mail["auto-submitted"],
        "text": text and text.get_content(),
        "html": html and html.get_content(),
        "defects": [str(defect) for defect in mail.defects],
    }


if __name__ == "__main__":
    print(json.dumps(parsed(sys.stdin.buffer.read())))
