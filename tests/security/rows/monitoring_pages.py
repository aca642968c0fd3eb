"""Monitoring, recalibration, a site's settings and the model registry in the portal."""

from tests.security.matrix import LOGIN, admins, everyone, overseers

TOKENS = False
ROWS = {
    "GET portal:sites": admins(200, nobody=LOGIN),
    "POST portal:change_site": admins(302, nobody=LOGIN, elsewhere=404),
    "POST portal:import_models": admins(302, nobody=LOGIN),
    "GET portal:model": everyone(200, nobody=LOGIN),
    "POST portal:move_model": admins(302, nobody=LOGIN),
    "GET portal:monitoring": overseers(200, nobody=LOGIN),
    "GET portal:calibration": overseers(200, nobody=LOGIN, elsewhere=404),
    "POST portal:recalibrate": admins(302, nobody=LOGIN, elsewhere=404),
    "POST portal:undo_calibration": admins(302, nobody=LOGIN, elsewhere=404),
}
OBJECTS = {
    "portal:model": lambda w: w.bundle,
    "portal:move_model": lambda w: w.bundle,
    "portal:calibration": lambda w: w.site,
    "portal:change_site": lambda w: w.site,
    "portal:recalibrate": lambda w: w.site,
    "portal:undo_calibration": lambda w: w.site,
}
