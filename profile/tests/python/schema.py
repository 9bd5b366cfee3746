"""Holds messages against their CDDL, and the CDDL against messages that are wrong.

usage: schema.py SCHEMA RULE MESSAGE [RULE MESSAGE]...     MESSAGE ends in .cbor or .json
"""

import json
import sys

import cbor2
import pycddl

# No key may be all of these.
WRONG = [{"no": "such"}, [[0.5]], True]
text = open(sys.argv[1]).read()


def refused(schema, message):
    try:
        schema.validate_cbor(cbor2.dumps(message))
    except pycddl.ValidationError:
        return True
    return False


for rule, path in zip(sys.argv[2::2], sys.argv[3::2]):
    # A validator starts at the first rule.
    schema = pycddl.Schema(f"start = {rule}\n{text}")
    with open(path, "rb") as file:
        message = cbor2.load(file) if path.endswith(".cbor") else json.load(file)
    schema.validate_cbor(cbor2.dumps(message))
    unknown = 999 if any(isinstance(key, int) for key in message) else "unknown"
    # This validator lets {} be any map.
    assert not message or refused(schema, {**message, unknown: 1}), f"{rule}: an unknown key is accepted"
    for key in message:
        assert any(refused(schema, {**message, key: value}) for value in WRONG), f"{rule}: {key} may be anything"
    print(rule, len(message))
