"""Large files through the API, in parts."""

from tests.security.matrix import staff

ROWS = {
    "GET api:uploads": staff(200, others=403),
    "POST api:uploads": staff(201),
    "GET api:upload": staff(200),
    "PATCH api:upload": staff(400),  # without its header
    "DELETE api:upload": staff(204),
    "POST api:retry_upload": staff(409),
}
OBJECTS = {
    "api:uploads": lambda w: w.ready_case,
    "api:upload": lambda w: w.upload,
    "api:retry_upload": lambda w: w.upload,
}
BODIES = {"POST api:uploads": lambda w: {"filename": "labs.csv", "size": 9}}
