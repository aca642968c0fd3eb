"""The listener itself, over real sockets."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from clinic.interop.hl7 import listener as listening
from clinic.interop.results.models import LabResult
from tests.clinic.interop.messages import PANEL, fields, oru
from tests.factories import PatientFactory

pytestmark = pytest.mark.django_db(transaction=True)
START, END = listening.START, listening.END


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch):
    """What a worker would do with the items is no matter of the listener's."""
    monkeypatch.setattr("clinic.cases.services.send", lambda *_: None)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(listening, "FRAME_SECONDS", 0.5)


@contextlib.asynccontextmanager
async def connected(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(port, data):
    async with connected(port, data) as reader:
        said = await asyncio.wait_for(reader.readuntil(END), 60)
    return fields(said.removeprefix(START).removesuffix(END))


async def closed_after(port, data):
    """What is said before the connection is closed from the other side."""
    async with connected(port, data) as reader:
        try:
            return await asyncio.wait_for(reader.read(), 10)
        except ConnectionResetError:
            return b""


def run(site, user, script):
    async def main():
        async with listening.Listener(site=site, by=user, port=0) as listener:
            return await script(listener.port)

    with ThreadPoolExecutor(1) as own:  # whatever loop another test has left running in this thread
        return own.submit(lambda: asyncio.run(main())).result()


def test_messages_are_answered_one_after_another_and_many_at_once(site, integrator):
    PatientFactory(site=site, mrn="M1", birth_date="1980-04-01")

    async def script(port):
        frames = [START + oru(*PANEL, control=f"C{n}", order=f"F{n}") + END for n in range(6)]
        return await asyncio.gather(*(exchange(port, b"noise" + frame) for frame in frames))

    said = run(site, integrator, script)
    assert [one["MSA"][1:3] for one in said] == [["AA", f"C{n}"] for n in range(6)]
    assert LabResult.objects.count() == 24


def test_a_frame_that_never_ends_or_is_too_long_is_refused_and_the_listener_lives(site, integrator, quick, monkeypatch):
    monkeypatch.setattr(listening, "MOST_BYTES", 50_000)

    async def script(port):
        said = await closed_after(port, START + b"MSH|^~\\&|half")
        assert fields(said.strip(START + END))["MSA"][1] == "AR"
        assert b"|AA|" not in await closed_after(port, START + b"A" * 200_000)
        return await exchange(port, START + oru(*PANEL) + END)

    assert run(site, integrator, script)["MSA"][1] == "AA"


DAMAGED = [
    b"",
    b"MSH",
    b"MSH\r",
    b"MSH|^~\\&|",
    b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|2.5\r",
    b"MSH\rPID|1\rOBX|1",
    b"\0" * 9,
]


def test_a_message_that_is_only_its_head_or_damaged_is_answered_on_the_same_connection(site, integrator):
    async def script(port):
        codes = []
        async with connected(port, b"".join(START + one + END for one in DAMAGED)) as reader:
            for _ in DAMAGED:
                said = await asyncio.wait_for(reader.readuntil(END), 30)
                codes.append(fields(said.removeprefix(START).removesuffix(END))["MSA"][1])
        return codes

    assert run(site, integrator, script) == ["AR", "AR", "AR", "AR", "AE", "AR", "AR"]
