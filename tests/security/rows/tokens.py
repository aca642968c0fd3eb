"""The page of one's own tokens."""

from tests.security.matrix import LOGIN, answers, everyone

TOKENS = False
ROWS = {
    "GET tokens:tokens": everyone(200, nobody=LOGIN),
    "POST tokens:tokens": everyone(400, nobody=LOGIN),
    "POST tokens:revoke": answers(LOGIN, 404, 404, 404, 404, 302, 404, 404, 404),
}
OBJECTS = {"tokens:revoke": lambda w: w.service_token}
