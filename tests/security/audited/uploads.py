from tests.security.audited.lines import acts, plain, shows

LINES = {
    "uploads:uploads": [
        shows("upload.read", "ready", query=lambda w: {"id": w["upload"].pk}),
        acts("upload.start", "ready", headers={"Upload-Length": "9", "Upload-Name": "quillfeather.csv"}),
    ],
    "uploads:pulse": plain("states by id; it names no file", "ready"),
    "uploads:upload": [
        shows("upload.read", "upload"),
        acts("upload.complete", "upload", method="patch", headers={"Upload-Offset": "0"}),
        acts("upload.cancel", "upload", method="delete"),
    ],
    "uploads:retry": acts("upload.retry", "refused_upload"),
}
