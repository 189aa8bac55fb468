"""A WebSocket server that echoes, and a client with every case that a proxy can spoil."""

import asyncio
import sys

import websockets

LARGE = 4 << 20


async def echo(connection, *_):
    try:
        async for message in connection:
            if message == "close with 4001":
                await connection.close(4001, "as you wish")
                return
            await connection.send(message)
    except websockets.ConnectionClosed:
        pass


async def serve(port):
    async with websockets.serve(echo, "127.0.0.1", port, max_size=2 * LARGE):
        await asyncio.Future()


async def run(url):
    async with websockets.connect(url, max_size=2 * LARGE, compression=None) as connection:
        await connection.send("hello")
        assert await connection.recv() == "hello"
        # One message in many frames, of both kinds.
        await connection.send(f"part {number} " for number in range(50))
        assert (await connection.recv()).endswith("part 49 ")
        await connection.send([b"\x00\xff", b"", b"\x01"])
        assert await connection.recv() == b"\x00\xff\x01"
        large = bytes(range(256)) * (LARGE // 256)
        await connection.send(large)
        assert await connection.recv() == large
        await asyncio.wait_for(await connection.ping(b"are you there"), 10)
        await connection.send("close with 4001")
        try:
            await connection.recv()
        except websockets.ConnectionClosed as closed:
            assert (closed.code, closed.reason) == (4001, "as you wish"), closed
    async with websockets.connect(url) as connection:
        await connection.close(4002, "bye")
        assert connection.close_code == 4002, connection.close_code
    # One that is cut when the proxy has drained.
    print("passed", flush=True)
    async with websockets.connect(url) as connection:
        await connection.send("still here")
        assert await connection.recv() == "still here"
        print("open", flush=True)
        try:
            await connection.recv()
        except websockets.ConnectionClosed:
            print("closed", flush=True)


asyncio.run(serve(int(sys.argv[2])) if sys.argv[1] == "serve" else run(sys.argv[2]))
