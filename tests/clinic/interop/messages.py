"""HL7 v2 messages as laboratories send them. Synthetic."""


def oru(*results, control="C1", mrn="M1", born="19800401", pid=None, order="F100", taken="202603020800", sender="LAB"):
    """``results``: (OBX-2, OBX-3, OBX-5, OBX-6, OBX-11)."""
    segments = [
        f"MSH|^~\\&|{sender}|NORTH|MARROW|HOME|20260302083000||ORU^R01^ORU_R01|{control}|P|2.5.1||||||UNICODE UTF-8",
        pid or f"PID|1||{mrn}^^^HOME^MR||Synthetic^Fay||{born}|F",
        f"OBR|1|P1|{order}|58410-2^CBC^LN|||{taken}",
    ]
    for n, (kind, code, value, unit, status) in enumerate(results, start=1):
        segments.append(f"OBX|{n}|{kind}|{code}||{value}|{unit}|||||{status}")
    return ("\r".join(segments) + "\r").encode()


PANEL = (
    ("NM", "6690-2^WBC^LN", "48.2", "10*3/uL", "F"),
    ("NM", "718-7^Hb^LN", "7.9", "g/dL", "F"),
    ("NM", "777-3^PLT^LN", "21", "10*9/L", "F"),
    ("NM", "2532-0^LDH^LN", "912", "U/L", "F"),
)


def fields(ack):
    """Segment name → its fields."""
    return {line.split("|")[0]: line.split("|") for line in ack.decode().split("\r") if line}
