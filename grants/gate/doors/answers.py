"""Send answers to the caller: short ones at once, long ones in pieces, each within a time."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from grants.gate.decision.limits import Limits
from grants.gate.doors.upstream import whole

SHORT = 64 * 1024
SERVER = "stint"  # without it aiohttp tells its version


async def send(request: web.BaseRequest, response: web.Response, limits: Limits) -> web.Response:
    """Send a whole response, in time: aiohttp itself waits without end for a caller who does not read."""
    response.headers["Server"] = SERVER
    try:
        async with asyncio.timeout(limits.write):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        abort(request)
        raise ConnectionResetError("the caller does not read") from None
    return response


async def pass_on(
    request: web.BaseRequest, upstream: aiohttp.ClientResponse, head: CIMultiDict[str], limits: Limits
) -> web.StreamResponse:
    """Send the orchestrator's answer. Raises Unanswered before anything of it is sent; later it cuts the connection."""
    length = upstream.headers.get("Content-Length")
    if request.method == "HEAD":
        bare = web.Response(status=upstream.status, headers=head)
        if length is not None:
            bare.content_length = int(length)
        return await send(request, bare, limits)
    if length is not None and int(length) <= SHORT:
        return await send(
            request, web.Response(status=upstream.status, headers=head, body=await whole(upstream)), limits
        )
    response = web.StreamResponse(status=upstream.status, headers=head)
    response.headers["Server"] = SERVER
    if length is not None:
        response.content_length = int(length)
    try:
        async with asyncio.timeout(limits.write):
            await response.prepare(request)
        async for piece in upstream.content.iter_any():
            async with asyncio.timeout(limits.write):
                await response.write(piece)
        async with asyncio.timeout(limits.write):
            await response.write_eof()
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        abort(request)  # half an answer must not look whole, and a caller who does not read is not waited for
        raise ConnectionResetError("cut in mid-answer") from error
    return response


def abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        cut(request.transport)


def cut(transport: asyncio.WriteTransport) -> None:
    """Reset a connection at once, and drop what the kernel still keeps for a peer that does not read."""
    line = transport.get_extra_info("socket")
    if line is not None:
        with suppress(OSError, ValueError):  # closed already
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
