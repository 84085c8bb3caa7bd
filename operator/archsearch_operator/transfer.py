"""Receives the body of an HTTP answer from a peer that may send anything, in any size."""

from __future__ import annotations

import aiohttp


class TransferError(Exception):
    """A body that is not taken; str() says why."""


async def body_of(response: aiohttp.ClientResponse, longest: int) -> bytes:
    """The body, of at most `longest` bytes. Raises TransferError if there is more, or if it is compressed.

    Compressed bodies are refused and not unpacked: nobody asked for one, and a few bytes can unpack to gigabytes.
    """
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise TransferError(f"the body must not be compressed, but got Content-Encoding {encoding[:40]!r}")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > longest:
            raise TransferError(f"the body must be at most {longest} bytes, but got more")
    return bytes(body)
