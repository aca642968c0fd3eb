"""One file, encrypted: read and written in chunks, so that half a gigabyte needs no more memory than a page.

    "MRWSEAL1" | id of the key (16) | nonce (12) | the file's own key, wrapped (32 + 16) | prefix of nonces (7) | chunks

Every file has a random key of its own, wrapped by a key of the ring under the file's address: a file put in another's
place does not open, and a change of the ring's key rewrites the head alone. Chunks are AES-256-GCM in the STREAM
construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015, doi:10.1007/978-3-662-48000-7_24): each nonce holds the chunk's
number and whether it is the last, so that none can be dropped, moved, or cut off the end.
"""

import io
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"MRWSEAL1"
CHUNK = 256 * 1024
TAG = 16
WRAPPED = 32 + TAG
HEAD = len(MAGIC) + 16 + 12 + WRAPPED + 7


class Damaged(Exception):
    """The bytes are not those that were sealed under this address, or the key that sealed them is not in the ring."""


@dataclass(frozen=True)
class Head:
    key_id: str
    nonce: bytes
    wrapped: bytes
    prefix: bytes

    @classmethod
    def read(cls, raw):
        """None where these are not the first bytes of a sealed file."""
        if len(raw) < HEAD or not raw.startswith(MAGIC):
            return None
        at = len(MAGIC)
        return cls(
            raw[at : at + 16].decode(), raw[at + 16 : at + 28], raw[at + 28 : at + 28 + WRAPPED], raw[HEAD - 7 : HEAD]
        )

    def bytes(self):
        return MAGIC + self.key_id.encode() + self.nonce + self.wrapped + self.prefix

    def file_key(self, ring, address):
        key = ring.keys.get(self.key_id)
        if key is None:
            raise Damaged(f"{address} is sealed with the key {self.key_id}, which is not in the ring.")
        try:
            return AESGCM(key).decrypt(self.nonce, self.wrapped, address.encode())
        except InvalidTag:
            raise Damaged(f"{address} is not what was sealed under this address.") from None


def _wrap(file_key, prefix, ring, address):
    nonce = os.urandom(12)
    wrapped = AESGCM(ring.keys[ring.current]).encrypt(nonce, file_key, address.encode())
    return Head(ring.current, nonce, wrapped, prefix)


def _nonce(prefix, number, *, last):
    return prefix + number.to_bytes(4) + bytes([last])


class Sealer:
    """Writes what it is given, sealed, to ``out``. The address may be known only at the end: see ``close``."""

    def __init__(self, out):
        self.out, self.held, self.number, self.size = out, bytearray(), 0, 0
        self.key, self.prefix = AESGCM.generate_key(256), os.urandom(7)
        self.cipher = AESGCM(self.key)
        out.write(bytes(HEAD))

    def write(self, data):
        self.size += len(data)
        self.held += data
        while len(self.held) > CHUNK:  # one stays back: it might be the last
            self._put(bytes(self.held[:CHUNK]), last=False)
            del self.held[:CHUNK]

    def close(self, ring, address):
        self._put(bytes(self.held), last=True)
        self.out.seek(0)
        self.out.write(_wrap(self.key, self.prefix, ring, address).bytes())

    def _put(self, chunk, *, last):
        self.out.write(self.cipher.encrypt(_nonce(self.prefix, self.number, last=last), chunk, None))
        self.number += 1


class Opened(io.RawIOBase):
    """The plain bytes of a sealed file, from any place on. Raises Damaged where they are not whole."""

    def __init__(self, stream, ring, address):
        self.stream, self.address, self.place, self.kept = stream, address, 0, (-1, b"")
        stream.seek(0)
        head = Head.read(stream.read(HEAD))
        if head is None:
            raise Damaged(f"{address} is not a sealed file.")
        self.cipher, self.prefix = AESGCM(head.file_key(ring, address)), head.prefix
        length = stream.seek(0, os.SEEK_END) - HEAD
        self.chunks = max(1, -(-length // (CHUNK + TAG)))
        self.size = length - TAG * self.chunks
        self._chunk(self.chunks - 1)  # a cut end is found before the first byte is given out

    def readable(self):
        return True

    def seekable(self):
        return True

    @property
    def name(self):
        """As files have one: some readers ask for it."""
        return self.address

    def tell(self):
        return self.place

    def seek(self, offset, whence=os.SEEK_SET):
        self.place = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence])
        return self.place

    def readinto(self, buffer):
        number, start = divmod(self.place, CHUNK)
        if self.place >= self.size:
            return 0
        part = self._chunk(number)[start : start + len(buffer)]
        buffer[: len(part)] = part
        self.place += len(part)
        return len(part)

    def close(self):
        self.stream.close()
        super().close()

    def _chunk(self, number):
        if self.kept[0] != number:
            self.stream.seek(HEAD + number * (CHUNK + TAG))
            nonce = _nonce(self.prefix, number, last=number == self.chunks - 1)
            try:
                self.kept = (number, self.cipher.decrypt(nonce, self.stream.read(CHUNK + TAG), None))
            except (InvalidTag, ValueError):
                raise Damaged(f"{self.address} was changed since it was sealed.") from None
        return self.kept[1]


def rewrapped(raw, ring, address):
    """The head of a file with its key wrapped by the ring's current one; None where it is that already."""
    head = Head.read(raw)
    if head.key_id == ring.current:
        return None
    return _wrap(head.file_key(ring, address), head.prefix, ring, address).bytes()
