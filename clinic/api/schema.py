"""The OpenAPI description: what drf-spectacular finds by itself, and the refusals that every operation shares."""

from drf_spectacular.openapi import AutoSchema

from clinic.api.serializers import ProblemOut

REFUSALS = {
    "400": "The input was not accepted",
    "401": "Not logged in",
    "403": "Not allowed",
    "404": "Not found, or not for you",
    "409": "Not possible now",
}


class ProblemSchema(AutoSchema):
    def _get_response_bodies(self, direction="response"):
        bodies = super()._get_response_bodies(direction)
        for code, description in REFUSALS.items():
            said = self._get_response_for_code(ProblemOut, code, ["application/problem+json"], direction)
            bodies.setdefault(code, said | {"description": description})
        return bodies
