"""Monitoring, recalibration and the model registry over the API."""

from tests.security.matrix import admins, answers, overseers, staff

ROWS = {
    "GET api:course": staff(200),
    "POST api:move_bundle": admins(200),
    "GET api:bundle_in_use": overseers(200),
    "GET api:weeks": overseers(200),
    "GET api:calibrations": overseers(200, elsewhere=404),
    "POST api:calibrations": answers(401, 404, 404, 404, 403, 202, 404, 404, 404),
    "POST api:undo_calibration": answers(401, 404, 404, 404, 403, 409, 404, 404, 404),
}
OBJECTS = {
    "api:course": lambda w: w.patient,
    "api:move_bundle": lambda w: w.bundle,
    "api:bundle_in_use": lambda w: w.bundle,
    "api:calibrations": lambda w: w.site,
    "api:undo_calibration": lambda w: w.site,
}
BODIES = {
    "POST api:move_bundle": lambda w: {"do": "retire", "reason": "Superseded."},
    "POST api:undo_calibration": lambda w: {"reason": "The lamp was changed."},
}
