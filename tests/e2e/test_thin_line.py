# SPDX-License-Identifier: Apache-2.0
"""Connect, subscribe, publish, deliver: one thin line through all floors, in every way to speak."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, TEXT, STORED, Broker, Peer, bare, frame, typed  # noqa: E402

with Broker() as broker:
    reader = typed(broker.port)
    assert reader.ask({"type": 5, "id": 1, "topic": "room/1"}) == {"type": 8, "id": 1, "topic": "room/1"}
    writer = typed(broker.port)
    ack = writer.ask({"type": 7, "id": 9, "topic": "room/1", "message": {"hi": 1}})
    assert ack == {"type": 8, "id": 9, "receivers": 1, "buffered": 0, "stored": STORED}, ack
    assert reader.read_json() == {"type": 2, "topic": "room/1", "message": {"hi": 1}}

    plain = Peer(broker.port, path="/ws?topic=room/1")
    plain.send(frame(TEXT, "Hi"))
    for peer in plain, reader:
        assert peer.read_json() == {"type": 2, "topic": "room/1", "message": "Hi"}

    filtered = typed(broker.port)
    filtered.ask({"type": 5, "id": 1, "topic": "room/#"})
    packed = Peer(broker.port, protocol="fanfare.v1.msgpack")
    packed.read()
    packed.send(frame(BINARY, b"\x93\x05\x01\xa6room/1"))
    opcode, ack = packed.read()
    assert opcode == BINARY and ack[:11] == b"\x95\x08\x01\xa6room/1\xab" and ack[-1] == 2, ack
    writer.send(frame(TEXT, '{"type":7,"topic":"room/1","message":[1,-2,2.50]}'))
    assert reader.read() == (TEXT, b'{"type":2,"topic":"room/1","message":[1,-2,2.50],"offset":3}'), "byte for byte"
    assert filtered.read_json()["filter"] == "room/#"
    assert packed.read() == (BINARY, b"\x94\x02\xa6room/1\x93\x01\xfe\xcb\x40\x04\0\0\0\0\0\0\x03")
print("ok")
