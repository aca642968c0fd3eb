from tests.security.audited.lines import acts, plain

LINES = {
    "tokens:tokens": [
        plain("one's own tokens"),
        acts(
            "token.create",
            format="multipart",
            body={"name": "Script", "scopes": ["case.view"], "days": "7", "site": ""},
        ),
    ],
    "tokens:revoke": acts("token.revoke", "service_token", by="admin_user"),
}
