from tests.security.audited.lines import acts, plain

WATCH = {"method": "get", "by": "auditor"}
NEW_LAMP = {"by": "admin_user", "body": {"reason": "A new lamp."}}
RETIRE = {"by": "admin_user", "body": {"do": "retire", "reason": "Old."}}

LINES = {
    "api:course": acts("patient.read", "patient", method="get"),
    "api:move_bundle": acts("bundle.retire", "bundle", **RETIRE),
    "api:bundle_in_use": acts("monitoring.read", "bundle", **WATCH),
    "api:weeks": acts("monitoring.read", **WATCH),
    "api:calibrations": [
        acts("calibration.read", "site", **WATCH),
        acts("calibration.request", "site", by="admin_user"),
    ],
    "api:undo_calibration": acts("calibration.undo", "site", **NEW_LAMP),
    "portal:sites": plain("a site's settings are no patients", by="admin_user"),
    "portal:change_site": acts(
        "site.change", "site", by="admin_user", format="multipart", body={"second_reader": "yes"}
    ),
    "portal:import_models": acts("bundle.import", by="admin_user"),
    "portal:model": plain("models are no patients", "bundle"),
    "portal:move_model": acts("bundle.retire", "bundle", format="multipart", **RETIRE),
    "portal:monitoring": acts("monitoring.read", **WATCH),
    "portal:calibration": acts("calibration.read", "site", **WATCH),
    "portal:recalibrate": acts("calibration.request", "site", by="admin_user"),
    "portal:undo_calibration": acts("calibration.undo", "site", format="multipart", **NEW_LAMP),
}
