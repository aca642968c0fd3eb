"""An audit event as FHIR R4B says it: an AuditEvent in the shape of IHE's Basic Audit Log Patterns (BALP).

A plain dict, so that a million of them can be streamed; the tests hold each act's against the FHIR model.
https://profiles.ihe.net/ITI/BALP/
"""

import base64
import json

from clinic.audit.models import Action, Outcome
from clinic.canonical import canonical_json

HL7 = "http://terminology.hl7.org/CodeSystem"
DICOM = "http://dicom.nema.org/resources/ontology/DCM"
INTERACTION = "http://hl7.org/fhir/restful-interaction"
BALP = "https://profiles.ihe.net/ITI/BALP"
OWN = "urn:marrow:audit-action"
OUTCOMES = {Outcome.SUCCESS: "0", Outcome.DENIED: "4", Outcome.FAILURE: "8"}
SIGNING_IN = {
    Action.LOGIN: ("110122", "Login"),
    Action.LOGOUT: ("110123", "Logout"),
    Action.LOGIN_FAILED: ("110122", "Login"),
}
KINDS = {  # the verb of an act → (action, interaction of REST, BALP's pattern)
    "read": ("R", "read", "Read"),
    "download": ("R", "read", "Read"),
    "export": ("R", "read", "Read"),
    "search": ("E", "search-type", "Query"),
    "create": ("C", "create", "Create"),
    "receive": ("C", "create", "Create"),
    "request": ("C", "create", "Create"),
    "save": ("C", "create", "Create"),
    "draft": ("C", "create", "Create"),
    "amend": ("C", "create", "Create"),
    "import": ("C", "create", "Create"),
    "delete": ("D", "delete", "Delete"),
    "revoke": ("D", "delete", "Delete"),
}
UPDATE = ("U", "update", "Update")


def audit_event(event):
    """The FHIR AuditEvent, as JSON's dict, of one row of the log."""
    said = json.loads(event.body)
    action = Action(event.action) if event.action in Action.values else None
    shape = _signing_in(action) if action in SIGNING_IN else _rest(event)
    entities = [*_patient(said), *_object(said), *_query(said), _transaction(event, said)]
    return {
        "resourceType": "AuditEvent",
        "id": f"seq-{event.seq}",
        **shape,
        "recorded": said["at"],
        "outcome": OUTCOMES.get(event.outcome, "8"),
        **({"outcomeDesc": event.outcome} if event.outcome != Outcome.SUCCESS else {}),
        **({"purposeOfEvent": [{"text": said["purpose"]}]} if said["purpose"] else {}),
        "agent": [_who(said), _us(shape["action"])],
        "source": {
            "observer": {"display": "Marrow"},
            "type": [_coding(f"{HL7}/security-source-type", "4", "Application Server")],
            **({"site": said["site"]} if said["site"] else {}),
        },
        "entity": entities,
    }


def _coding(system, code, display):
    return {"system": system, "code": code, "display": display}


def _rest(event):
    """The pattern of a REST interaction; what only the system does is an update of what it works on."""
    action, interaction, pattern = KINDS.get(event.action.rpartition(".")[2], UPDATE)
    of_patient = f"Patient{pattern}" if event.patient_id else pattern
    return {
        "meta": {"profile": [f"{BALP}/StructureDefinition/IHE.BasicAudit.{of_patient}"]},
        "type": _coding(f"{HL7}/audit-event-type", "rest", "Restful Operation"),
        "subtype": [_coding(INTERACTION, interaction, interaction), _coding(OWN, event.action, event.action)],
        "action": action,
    }


def _signing_in(action):
    return {
        "type": _coding(DICOM, "110114", "User Authentication"),
        "subtype": [_coding(DICOM, *SIGNING_IN[action]), _coding(OWN, action.value, action.value)],
        "action": "E",
    }


def _who(said):
    """Who acted: a user, nobody known, or the system itself for a cause."""
    name, key = said["actor"]["name"], said["actor"]["id"]
    identifier = {"identifier": {"system": "urn:marrow:user", "value": key}} if key else {}
    network = {"network": {"address": said["address"], "type": "2"}} if said["address"] else {}
    return {
        "type": {"coding": [_coding(f"{HL7}/v3-ParticipationType", "IRCP", "information recipient")]},
        "who": {**identifier, "display": name},
        "name": name,
        "requestor": True,
        **network,
    }


def _us(action):
    """Ourselves: where data comes from in a reading, where it goes in anything else."""
    role = ("110153", "Source Role ID") if action == "R" else ("110152", "Destination Role ID")
    return {"type": {"coding": [_coding(DICOM, *role)]}, "who": {"display": "Marrow"}, "requestor": False}


def _patient(said):
    if said["patient"]:
        yield {
            "what": {"reference": f"Patient/{said['patient']}"},
            "type": _coding(f"{HL7}/audit-entity-type", "1", "Person"),
            "role": _coding(f"{HL7}/object-role", "1", "Patient"),
        }


def _object(said):
    kind, key = said["object"]["type"], said["object"]["id"]
    if key and kind != "patient":
        yield {
            "what": {"identifier": {"system": f"urn:marrow:{kind}", "value": key}, "display": kind},
            "type": _coding(f"{HL7}/audit-entity-type", "2", "System Object"),
            "role": _coding(f"{HL7}/object-role", "4", "Domain Resource"),
        }


def _query(said):
    if said["action"].endswith((".search", ".export")) and said["detail"]:
        yield {
            "type": _coding(f"{HL7}/audit-entity-type", "2", "System Object"),
            "role": _coding(f"{HL7}/object-role", "24", "Query"),
            "query": base64.b64encode(canonical_json(said["detail"])).decode(),
        }


def _transaction(event, said):
    """The request or the task, and the event's place in the chain, so that an export can be held against it."""
    details = {"cause": said["cause"], "case": said["case"], "seq": str(event.seq), "hash": event.hash}
    return {
        "what": {"identifier": {"value": said["request"] or said["cause"] or "none"}},
        "type": _coding(f"{BALP}/CodeSystem/BasicAuditEntityType", "XrequestId", "The X-Request-ID of the request"),
        "detail": [{"type": name, "valueString": value} for name, value in details.items() if value],
    }
