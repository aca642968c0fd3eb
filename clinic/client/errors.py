from typing import Any

import httpx


class Unreachable(Exception):
    """The server did not answer, also when asked again."""


class Problem(Exception):
    """What the server refused, and why (RFC 9457). ``code`` is stable; ``errors`` name the places and the remedies."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.status = int(said.get("status", 0))
        self.code = str(said.get("code", ""))
        self.detail = str(said.get("detail", ""))
        self.errors: list[dict[str, str]] = said.get("errors", [])
        super().__init__(self.detail or f"{self.status} {self.code}")

    @classmethod
    def of(cls, response: httpx.Response) -> "Problem":
        try:
            said = response.json()
        except ValueError:
            said = {}
        whole = said if isinstance(said, dict) else {}
        return cls({"status": response.status_code, "detail": response.reason_phrase, **whole})

    def lines(self) -> list[str]:
        """For a person: what is wrong, where, and what to do."""
        places = [f"  {e['place']}: {e['problem']} {e['remedy']}".rstrip() for e in self.errors if e.get("place")]
        return [f"{self.detail} ({self.status} {self.code})", *places]
