# SPDX-License-Identifier: Apache-2.0
"""python3-websockets, plain and typed, chatting with each other."""
import asyncio
import json
import os
import sys

import websockets

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import DEADLINE, Broker  # noqa: E402


async def next_message(client):
    while True:
        message = json.loads(await asyncio.wait_for(client.recv(), DEADLINE))
        if message["type"] == 2:
            return message["message"]


async def chat(url):
    async with websockets.connect(url) as plain, \
            websockets.connect(url, subprotocols=["fanfare.v1.json"]) as typed:
        assert typed.subprotocol == "fanfare.v1.json"
        await typed.send(json.dumps({"type": 5, "id": 1, "topic": "lobby"}))
        while json.loads(await typed.recv())["type"] != 8:
            pass
        await plain.send("hello")
        assert await next_message(plain) == await next_message(typed) == "hello"
        await typed.send(json.dumps({"type": 7, "topic": "lobby", "message": [1, 2]}))
        assert await next_message(plain) == await next_message(typed) == [1, 2]
        for client in plain, typed:  # both offer permessage-deflate
            assert [one.name for one in client.extensions] == ["permessage-deflate"]
        for n in range(5):
            long = "%d: " % n + "the same words again, " * 1000
            await plain.send(long)
            assert await next_message(plain) == await next_message(typed) == long
        waiter = await plain.ping()
        await asyncio.wait_for(waiter, DEADLINE)


with Broker() as broker:
    asyncio.run(chat(broker.urls[0]))
print("ok")
