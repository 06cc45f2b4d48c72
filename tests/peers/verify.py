"""Feeds requests to PyPI's standardwebhooks and says what it thinks of each, one line per request.

On stdin, one JSON object per line: {"secret", "headers", "body"}, the body in base64.
"""

import base64
import json
import sys

from standardwebhooks.webhooks import Webhook

for line in sys.stdin:
    request = json.loads(line)
    body = base64.b64decode(request["body"]).decode()
    try:
        event = Webhook(request["secret"]).verify(body, request["headers"])
        verdict = {"ok": True, "type": event["type"]}
    except Exception as error:  # The library's own errors and those of a body that is no JSON.
        verdict = {"ok": False, "error": repr(error)}
    print(json.dumps(verdict), flush=True)
