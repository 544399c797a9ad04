"""A chat server that takes a fixed time for every answer and no time of its own: what a client can make of a model.

Run: python benchmarks/latency_server.py SECONDS     (prints its address; ends with its input)
"""

from __future__ import annotations

import asyncio
import json
import sys

LABEL = {"reasoning": "r", "label": "no pleural effusion", "concept": "pleural_effusion", "side": None}
TEXT = json.dumps(LABEL | {"polarity": "absent", "modality": "text"}) + "\n[EXPLANATION]: no pleural effusion"
ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": TEXT}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 40, "total_tokens": 1040},
}
BODY = json.dumps(ANSWER).encode()
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency_s: float) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            await asyncio.sleep(latency_s)
            writer.write(REPLY)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(latency_s: float) -> None:
    server = await asyncio.start_server(
        lambda r, w: answer(r, w, latency_s), "127.0.0.1", 0, limit=1 << 20, backlog=256
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
