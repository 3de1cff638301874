"""Packets of the binary protocol, for the tests."""

import struct
from collections import namedtuple

GET, SET, ADD, REPLACE, DELETE, INCR, DECR, QUIT, FLUSH = range(0x00, 0x09)
GETQ, NOOP, VERSION, GETK, GETKQ, APPEND, PREPEND = range(0x09, 0x10)
STAT, SETQ, ADDQ, REPLACEQ, DELETEQ, INCRQ, DECRQ, QUITQ, FLUSHQ = range(0x10, 0x19)
APPENDQ, PREPENDQ, VERBOSITY, TOUCH, GAT, GATQ, HELLO = range(0x19, 0x20)
SASL_LIST, SASL_AUTH, SASL_STEP, GATK, GATKQ = range(0x20, 0x25)
RGET = 0x30
GETV, SETV, DELETEV = range(0xe0, 0xe3)

OK, NOT_FOUND, EXISTS, TOO_LARGE, INVALID, NOT_STORED, NON_NUMERIC = range(7)
AUTH_FAILURE, AUTH_CONTINUE = 0x20, 0x21
UNKNOWN, NO_MEMORY = 0x81, 0x82

NOT_FOUND_TEXT = b"Not found"
EXISTS_TEXT = b"Data exists for key."
TEXTS = {NOT_FOUND: b"Not found", EXISTS: b"Data exists for key.", TOO_LARGE: b"Too large.",
         INVALID: b"Invalid arguments", NOT_STORED: b"Not stored.",
         NON_NUMERIC: b"Non-numeric server-side value for incr or decr",
         AUTH_FAILURE: b"Auth failure.", UNKNOWN: b"Unknown command"}

HEADER = struct.Struct(">BBHBBHIIQ")
Reply = namedtuple("Reply", "opcode status opaque cas extras key value")


def request(opcode, key=b"", value=b"", extras=b"", opaque=0, cas=0, magic=0x80, body=None):
    """A request; `body` overrides the length that its header says."""
    if body is None:
        body = len(extras) + len(key) + len(value)
    return HEADER.pack(magic, opcode, len(key), len(extras), 0, 0, body, opaque, cas) \
        + extras + key + value


def store(opcode, key, value, flags=0, exptime=0, **options):
    return request(opcode, key, value, struct.pack(">II", flags, exptime & 0xffffffff), **options)


def arithmetic(opcode, key, delta=1, initial=0, exptime=0, **options):
    return request(opcode, key, b"", struct.pack(">QQI", delta, initial, exptime & 0xffffffff),
                   **options)


def touch(opcode, key, exptime, **options):
    return request(opcode, key, b"", struct.pack(">I", exptime & 0xffffffff), **options)


def response(opcode, status=OK, extras=b"", key=b"", value=None, opaque=0, cas=0):
    """A whole reply, as it should stand on the wire; an error carries its text."""
    if value is None:
        value = TEXTS.get(status, b"")
    body = len(extras) + len(key) + len(value)
    return HEADER.pack(0x81, opcode, len(key), len(extras), 0, status, body, opaque, cas) \
        + extras + key + value


def read_reply(connection):
    magic, opcode, key_bytes, extras_bytes, kind, status, body_bytes, opaque, cas = \
        HEADER.unpack(connection.read(HEADER.size))
    assert magic == 0x81, "magic %#x" % magic
    assert kind == 0, "data type %d" % kind
    body = connection.read(body_bytes)
    key_end = extras_bytes + key_bytes
    return Reply(opcode, status, opaque, cas, body[:extras_bytes], body[extras_bytes:key_end],
                 body[key_end:])
