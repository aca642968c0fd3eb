"""Files on their way in. What is sent here lacks its headers, so that whoever may is told what is missing (400)."""

from tests.security.matrix import LOGIN, staff

TOKENS = False


def part(ok):
    return staff(ok, nobody=LOGIN, others=403)


ROWS = {
    "GET uploads:uploads": part(200),
    "POST uploads:uploads": part(400),
    "GET uploads:pulse": part(200),
    "GET uploads:upload": part(200),
    "PATCH uploads:upload": part(400),
    "DELETE uploads:upload": part(204),
    "POST uploads:retry": part(409),
}
OBJECTS = {
    "uploads:uploads": lambda w: w.ready_case,
    "uploads:pulse": lambda w: w.ready_case,
    "uploads:upload": lambda w: w.upload,
    "uploads:retry": lambda w: w.upload,
}
