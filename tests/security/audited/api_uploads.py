from tests.security.audited.lines import acts, shows

LINES = {
    "api:uploads": [
        shows("upload.read", "ready"),
        shows("upload.start", "case", method="post", body={"filename": "quillfeather-2.csv", "size": 9}),
    ],
    "api:upload": [shows("upload.read", "upload"), acts("upload.cancel", "upload", method="delete")],
    "api:retry_upload": acts("upload.retry", "refused_upload", body={}),
}
