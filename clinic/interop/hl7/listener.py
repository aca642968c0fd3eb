"""MLLP: messages between 0x0B and 0x1C 0x0D over TCP, each answered before the next is read from its connection.

Every message that ends is answered, and one that does not is refused before its connection is closed.
"""

import asyncio
import contextlib
import logging

from django.db import close_old_connections

from clinic.audit.context import acting
from clinic.errors import InvalidInput
from clinic.interop.hl7.acks import acknowledgement
from clinic.interop.hl7.services import answer
from clinic.interop.terminology import warm_up

logger = logging.getLogger(__name__)

START, END = b"\x0b", b"\x1c\r"
MOST_BYTES = 1024**2
FRAME_SECONDS = 8  # from the first byte of a message to its last
IDLE_SECONDS = 600
AT_ONCE = 4
CLOSED = (  # the sender went, said too much or too slowly, or the listener is being left
    TimeoutError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    ConnectionError,
    asyncio.CancelledError,
)
ENDLESS = InvalidInput("not_hl7", "The message has no end within its time and size.", "End it with 1C 0D.")


class Listener:
    """``async with Listener(...)``: listens until left. ``port`` is the one it got where 0 was asked."""

    def __init__(self, *, site, by, host="127.0.0.1", port=2575, tls=None):
        self.site, self.by, self.host, self.port, self.tls = site, by, host, port, tls
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._open = set()

    async def __aenter__(self):
        await asyncio.to_thread(warm_up)  # so that the first message does not wait for the table of units
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, limit=MOST_BYTES + len(END), ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._open.add(task)
        try:
            while (message := await self._next(reader, writer)) is not None:
                async with self._slots:
                    said = await asyncio.to_thread(self._answer, message)
                writer.write(START + said + END)
                await asyncio.wait_for(writer.drain(), FRAME_SECONDS)
        except CLOSED as why:
            logger.info("a connection was closed: %s", type(why).__name__)
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, OSError):
                await writer.wait_closed()

    async def _next(self, reader, writer):
        """The next message; None where the sender has closed. What stands before its first byte is no message."""
        while True:
            byte = await asyncio.wait_for(reader.read(1), IDLE_SECONDS)
            if not byte:
                return None
            if byte == START:
                break
        try:
            frame = await asyncio.wait_for(reader.readuntil(END), FRAME_SECONDS)
        except (TimeoutError, asyncio.LimitOverrunError):  # where it begins again, nobody can tell: told, then closed
            writer.write(START + acknowledgement("AR", error=ENDLESS) + END)
            raise
        return frame[: -len(END)]

    def _answer(self, message):
        close_old_connections()
        try:
            with acting("hl7 message"):
                return answer(message, site=self.site, by=self.by)
        finally:
            close_old_connections()
