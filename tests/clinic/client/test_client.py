"""The Python client and its command line: what is cut goes on, what is refused says why, and each end has a number."""

import hashlib
import json
import subprocess
import sys

import httpx
import pytest

from clinic.client import Client, Problem, Unreachable, cli
from clinic.client import client as module

PROBLEM = {
    "status": 403,
    "code": "not_allowed",
    "detail": "No.",
    "errors": [{"place": "site", "problem": "A", "remedy": "B"}],
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    waited = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    return waited


def client_of(answer):
    """A client of a server that answers what ``answer(request)`` gives."""
    return Client("http://marrow.test", "mrw_x", transport=httpx.MockTransport(answer))


class Server:
    """One upload that the network cuts: a part may arrive whole, or not at all, without an answer."""

    def __init__(self, content, cuts=()):
        self.content, self.got, self.cuts, self.calls = content, b"", list(cuts), 0

    def told(self):
        done = len(self.got) == len(self.content)
        said = {"id": "u", "case": "c", "filename": "f", "size": len(self.content), "received": len(self.got)}
        return said | {"status": "checking" if done else "receiving", "item": None, "rejection": None, "chunk_bytes": 4}

    def __call__(self, request):
        if request.method == "POST":
            said = json.loads(request.content)
            assert said["sha256"] == hashlib.sha256(self.content).hexdigest()
            return httpx.Response(201, json=self.told())
        if request.method == "GET":
            return httpx.Response(200, json=self.told())
        self.calls += 1
        cut = self.cuts.pop(0) if self.cuts else ""
        if cut == "before":
            raise httpx.ConnectError("cut")
        if int(request.headers["Upload-Offset"]) != len(self.got):
            return httpx.Response(409, json={"status": 409, "code": "wrong_offset", "detail": "Go on from there."})
        self.got += request.content
        if cut == "after":
            raise httpx.ReadError("cut")
        return httpx.Response(200, json=self.told())


@pytest.mark.parametrize("cuts", [[], ["before"], ["after"], ["", "after", "before", "after"]])
def test_a_file_arrives_whole_however_often_the_line_is_cut(tmp_path, cuts):
    path, sent = tmp_path / "f", []
    path.write_bytes(b"0123456789")
    server = Server(b"0123456789", cuts)
    with client_of(server) as marrow:
        marrow.upload("c", path, progress=sent.append)
    assert server.got == b"0123456789"
    assert sum(sent) == 10


def test_an_upload_that_was_begun_goes_on(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    server = Server(b"0123456789")
    server.got = b"01234567"
    with client_of(server) as marrow:
        marrow.upload("c", path)
    assert (server.got, server.calls) == (b"0123456789", 1)


def test_a_busy_server_is_asked_again_when_it_says(quick):
    answers = iter([httpx.Response(429, headers={"Retry-After": "7"}), httpx.Response(200, json=[])])
    assert client_of(lambda _: next(answers)).sites() == []
    assert quick == [7.0]


def test_a_post_is_tried_again_with_its_key():
    keys = []

    def answer(request):
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            raise httpx.ReadTimeout("slow")
        return httpx.Response(201, json={"id": "a"})

    assert client_of(answer).analyse("c")["id"] == "a"
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_a_refusal_is_told_with_its_places():
    with pytest.raises(Problem) as refused:
        client_of(lambda _: httpx.Response(403, json=PROBLEM)).sites()
    assert refused.value.lines() == ["No. (403 not_allowed)", "  site: A B"]
    with pytest.raises(Problem) as refused:
        client_of(lambda _: httpx.Response(500, text="<html>")).sites()
    assert refused.value.status == 500


def test_who_does_not_answer_is_given_up():
    def answer(request):
        raise httpx.ConnectError("refused")

    with pytest.raises(Unreachable):
        client_of(answer).sites()


class TestCommandLine:
    @pytest.fixture
    def ended(self, monkeypatch):
        """How the command ends where the server answers so."""

        def run(answer, *words):
            monkeypatch.setattr(cli, "Client", lambda *_: client_of(answer))
            return cli.main(["--url", "http://marrow.test", "--token", "x", *words])

        return run

    def test_without_a_server_it_asks_for_one(self, capsys):
        assert cli.main(["--url", "", "--token", "", "cases"]) == cli.WRONG_WORDS
        assert "MARROW_URL" in capsys.readouterr().err

    def test_a_refusal_and_a_silence_end_differently(self, ended, capsys):
        def silent(_):
            raise httpx.ConnectError("no")

        assert ended(lambda _: httpx.Response(403, json=PROBLEM), "cases") == cli.REFUSED_BY_SERVER
        assert "site: A B" in capsys.readouterr().err
        assert ended(silent, "cases") == cli.UNREACHABLE

    @pytest.mark.parametrize(("status", "code"), [("failed", cli.ANALYSIS_FAILED), ("succeeded", cli.DONE)])
    def test_an_analysis_that_fails_fails_the_command(self, ended, capsys, status, code):
        run = {"id": "a", "status": status, "stage": "done", "done": 0, "total": 0, "queue_place": None}
        run["failure"] = {"code": "x", "message": "The worker was lost."}
        body = {"urgent": [{"message": "APL is not excluded."}], "discordance": [], "reasons": []}
        said = {"status": "assessed", "answer": "aml", "probability": 0.8, "body": body}

        def answer(request):
            return httpx.Response(200, json=said if request.url.path.endswith("assessment") else run)

        assert ended(answer, "analyse", "--case", "c") == code
        told = capsys.readouterr()
        assert ("worker was lost" in told.err) == (status == "failed")
        assert ("APL is not excluded" in told.out) == (status == "succeeded")

    def test_a_folder_without_files_is_wrong_words(self, ended, tmp_path):
        assert ended(lambda _: httpx.Response(500), "upload", str(tmp_path), "--case", "c") == cli.WRONG_WORDS

    def test_a_missing_file_is_wrong_words(self, ended, tmp_path):
        assert ended(lambda _: httpx.Response(500), "upload", str(tmp_path / "x"), "--case", "c") == cli.WRONG_WORDS


def test_the_client_needs_no_django():
    code = "import sys, clinic.client.cli; sys.exit(bool({'django', 'rest_framework', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
