"""The published Python client, driven over standard input and told about on standard output, one JSON object per line.

Commands: connect, subscribe, unsubscribe, send, stats, disconnect. The program ends with its standard input.
"""

import asyncio
import contextlib
import json
import sys

import wse_client.connection
from wse_client import AsyncWSEClient
from wse_client.types import ReconnectConfig


def say(kind, **members):
    print(json.dumps({"kind": kind, **members}), flush=True)


class Peer:
    def __init__(self):
        self.client = None
        self.tasks = set()

    def start(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def connect(self, url, token=None, heartbeat=None, topics=None, reconnect=None, queue_size=1000):
        if heartbeat is not None:
            wse_client.connection.HEARTBEAT_INTERVAL = heartbeat
        reconnect = None if reconnect is None else ReconnectConfig(**reconnect)
        self.client = client = AsyncWSEClient(
            url, token=token, topics=topics, reconnect=reconnect, queue_size=queue_size
        )
        self.watch(client)
        # Not awaited: for a refused token connect() would sit out its wait for server_ready.
        self.start(self.run(client))

    def watch(self, client):
        """Tells of every frame and every state, beside what the client delivers."""
        connection = client._connection
        take, change = connection._handle_raw_message, connection._on_state_change

        def on_frame(data):
            text = isinstance(data, str)
            head = data[:40] if text else data[:2].decode("latin-1")
            say("frame", opcode="text" if text else "binary", head=head, size=len(data))
            take(data)

        def on_state(state):
            change(state)
            say("state", state=state.value)

        connection._handle_raw_message = on_frame
        connection._on_state_change = on_state

    async def run(self, client):
        connecting = asyncio.create_task(client.connect())
        while client._event_queue is None and not connecting.done():
            await asyncio.sleep(0)
        connecting.add_done_callback(lambda task: say("connected", error=failure(task), ready=client.is_ready))
        async for event in client:
            say("event", type=event.type, payload=event.payload, category=event.category)
        connecting.cancel()
        say("over")

    async def subscribe(self, topics):
        say("subscribed", ok=await self.client.subscribe(topics))

    async def unsubscribe(self, topics):
        say("unsubscribed", ok=await self.client.unsubscribe(topics))

    async def send(self, type, payload):
        say("sent", ok=await self.client.send(type, payload))

    async def stats(self):
        client = self.client
        extra = {
            "token": client._connection._token,
            "limit": client._server_max_message_size,
            "recovery": client.recovery_enabled,
            "hello_recovery": client._server_features.get("recovery"),
            "positions": client.recovery_state,
        }
        say("stats", **client.get_stats(), **extra)

    async def disconnect(self):
        await self.client.disconnect()
        say("disconnected")


def failure(task):
    if task.cancelled():
        return "cancelled"
    return repr(task.exception()) if task.exception() else None


async def main():
    peer = Peer()
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        await getattr(peer, command.pop("do"))(**command)
    with contextlib.suppress(Exception):
        await peer.client.disconnect()


asyncio.run(main())
