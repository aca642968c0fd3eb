from tests.security.audited.lines import acts, plain, shows

LINES = {
    "exchange:held_results": shows("result.read"),
    "exchange:held_result": [
        shows("result.read", "held"),
        acts("result.decide", "held", format="multipart", body={"act": "dismiss", "reason": "A control sample"}),
    ],
    "exchange:webhooks": [
        acts("webhook.read", method="get", by="admin_user"),
        plain("a target inside of the network: refused; tests/clinic/interop/test_webhooks.py", method="post"),
    ],
    "exchange:switch": acts("webhook.change", "webhook", by="admin_user", format="multipart", body={"active": "no"}),
    "exchange:replay": acts("webhook.replay", "delivery", by="admin_user", format="multipart"),
}
