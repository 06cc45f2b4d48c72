"""Writes and reads national GSM alphabets with PyPI's gsmcodecs, one line for each line on stdin.

{"locking", "single", "text"} is answered with {"octets": hex or null},
{"locking", "single", "octets"} with {"text": text or null}; 0 is the default table, null what the
codec refuses.
"""

import json
import sys

import gsmcodecs

codecs = {}
for line in sys.stdin:
    case = json.loads(line)
    pair = (case["locking"], case["single"])
    codec = codecs.get(pair) or codecs.setdefault(pair, gsmcodecs.makeCodec(*pair))
    try:
        if "text" in case:
            answer = {"octets": codec.encode(case["text"])[0].hex()}
        else:
            answer = {"text": codec.decode(bytes.fromhex(case["octets"]))[0]}
    except UnicodeError:
        answer = {"octets": None, "text": None}
    print(json.dumps(answer))
