"""A laboratory's ORU^R01: each result is taken, or waits for a person; the same message again changes nothing."""

import hashlib
import logging
import re
from collections import Counter

from django.db import IntegrityError, transaction

from clinic.accounts.access import require
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.errors import InvalidInput, MarrowError
from clinic.interop.hl7.acks import acknowledgement
from clinic.interop.hl7.message import moment, parse
from clinic.interop.hl7.models import Hl7Message
from clinic.interop.results.models import ResultStatus, Source
from clinic.interop.results.services import Incoming, hold_result, make_panel, receive_result
from clinic.patients.models import Patient

logger = logging.getLogger(__name__)

STATUS = {
    "F": ResultStatus.FINAL,
    "C": ResultStatus.CORRECTED,
    "D": ResultStatus.WITHDRAWN,
    "W": ResultStatus.WITHDRAWN,
}
NOT_YET = {"P", "R", "I", "S", "O", "N", "U", "X"}  # preliminary, pending, not asked, not obtained: no value to keep
NUMBER = re.compile(r"[+-]?\d{1,12}(?:\.\d{1,12})?")
OUR_FAULT = InvalidInput("internal", "Marrow could not take this message.", "Send it again later; the fault is logged.")


def answer(data, *, site, by):
    """Take one message (bytes without its MLLP frame) as ``by`` at ``site``. Returns the acknowledgement's bytes.

    Whatever happens, it is answered: a sender that hears nothing sends the same again for ever, and all else waits.
    """
    header, control_id, refusal = None, "", "AR"
    try:
        segments = parse(data)
        header = segments[0]
        control_id = header.text(10)[:199]
        _check_header(header, control_id)
        refusal = "AE"
        return acknowledgement(_take_once(data, segments, control_id, site, by), header, control_id=control_id)
    except MarrowError as error:
        return acknowledgement(refusal, header, control_id=control_id, error=error)
    except Exception:
        logger.exception("a message was not taken")
        return acknowledgement("AE", header, control_id=control_id, error=OUR_FAULT)


def _check_header(header, control_id):
    if not control_id:
        raise InvalidInput("missing", "The message has no control id.", "Give one.", place="MSH-10")
    if (header.text(9), header.text(9, 2)) != ("ORU", "R01"):
        problem = f"{header.text(9)}^{header.text(9, 2)} is not taken here."
        raise InvalidInput("other_type", problem, "Send ORU^R01.", place="MSH-9")
    if header.text(11) not in {"P", ""}:
        raise InvalidInput("not_production", "This is no production message.", "Send P.", place="MSH-11")
    if header.text(12) and not header.text(12).startswith("2."):
        raise InvalidInput(
            "other_version", f"Version {header.text(12)} is not HL7 v2.", "Send 2.3 to 2.9.", place="MSH-12"
        )


def _take_once(data, segments, control_id, site, by):
    header, digest = segments[0], hashlib.sha256(data).hexdigest()
    key = {"site": site, "sender": f"{header.text(3)}|{header.text(4)}"[:120], "control_id": control_id}
    if before := Hl7Message.objects.filter(**key).first():
        return _again(before, digest)
    try:
        with transaction.atomic():
            require(by, "item.upload", site)
            counts = _take(segments, site, by, key["sender"])
            row = Hl7Message.objects.create(**key, sha256=digest, ack="AA", counts=counts, received_by=by)
            record(Action.MESSAGE_RECEIVE, by=by, obj=row, site=site, detail={"control_id": control_id} | counts)
    except IntegrityError:  # the same message on another connection, at the same time
        return _again(Hl7Message.objects.get(**key), digest)
    return "AA"


def _again(before, digest):
    if before.sha256 != digest:
        problem = "Another message came under this control id."
        raise InvalidInput("changed_message", problem, "Give every message its own.", place="MSH-10")
    return before.ack


def _take(segments, site, by, sender):
    """Every OBX, under the PID and OBR before it. Returns how many were taken, held, known, or are not final yet."""
    counts, touched, person, order = Counter(), {}, None, None
    for n, segment in enumerate(segments, start=1):
        if segment.name == "PID":
            person, order = _person(segment, site), None
        elif segment.name == "OBR":
            order = segment
        elif segment.name == "OBX":
            if person is None:
                raise InvalidInput("missing", "A result comes before its patient.", "Send PID first.", place="PID")
            became = _take_one(segment, order, person, f"segment {n}, OBX-{segment.text(1) or '?'}", (site, by, sender))
            counts[became] += 1
            if became == "taken":
                touched[person["patient"].pk] = person["patient"]
    if not counts:
        raise InvalidInput("missing", "The message has no result.", "Send OBX segments.", place="OBX")
    for patient in touched.values():
        make_panel(patient=patient, by=by)
    return dict(counts)


def _take_one(obx, order, person, place, about):
    site, by, sender = about
    status = obx.text(11).upper()
    if status in NOT_YET:
        return "not final"
    incoming = _incoming(obx, order, sender, STATUS.get(status, ResultStatus.FINAL))
    try:
        if status not in STATUS:
            raise InvalidInput("unknown_status", f"OBX-11 is {status or 'empty'}.", "Decide whether it is final.")
        if person["fault"]:
            raise person["fault"]
        if incoming.taken_at is None:
            raise InvalidInput("no_time", "It does not say when the specimen was taken.", "Look it up.")
        _, new = receive_result(patient=person["patient"], incoming=incoming, source=Source.HL7, by=by, place=place)
    except (InvalidInput, MarrowError) as fault:
        if fault.status not in {400, 409}:
            raise
        hold_result(
            site=site,
            patient=person["patient"],
            incoming=incoming,
            source=Source.HL7,
            fault=fault,
            by=by,
            seen=person["seen"],
        )
        return "held"
    return "taken" if new else "known"


def _incoming(obx, order, sender, status):
    codes = (obx.repeats(3)[0] + [""] * 6)[:6]
    loinc = next((codes[k].strip() for k in (0, 3) if codes[k + 2].strip().upper() in {"LN", "LOINC"}), "")
    number, said = _number(obx)
    filler = (order.text(3) or order.text(2)) if order else ""
    taken = obx.text(14) or (order.text(7) if order else "")
    return Incoming(
        identifier=f"{sender}|{filler}|{codes[0].strip()}|{obx.text(4)}"[:255],
        loinc=loinc[:20],
        local_code="" if loinc else f"{codes[2].strip() or 'L'}|{codes[0].strip()}"[:200],
        text=codes[1][:200],
        number=number,
        said_value=said[:500],
        unit=obx.text(6)[:60],
        taken_at=moment(taken),
        status=status,
    )


def _number(obx):
    """A measured number: NM, SN without a bound, or a text that is nothing but a number. (None, what it says) else."""
    parts = obx.repeats(5)[0]
    said = obx.raw(5)
    if obx.text(2) == "SN":
        plain = [part for part in parts if part.strip() not in {"", "="}]
        text = plain[0] if len(plain) == 1 else ""
    else:
        text = parts[0] if len(parts) == 1 and len(obx.repeats(5)) == 1 else ""
    text = text.strip()
    return (float(text) if NUMBER.fullmatch(text) else None), said


def _person(pid, site):
    """Who it is: by the record number at this site, if nothing else that is said contradicts."""
    numbers = [one for one in pid.repeats(3) if one[0].strip()]
    typed = [one for one in numbers if len(one) > 4 and one[4].strip() == "MR"]
    mrns = list(dict.fromkeys(one[0].strip()[:64] for one in typed or numbers))
    born = moment(pid.text(7)[:8])
    seen = {"mrns": mrns, "name": ", ".join(filter(None, (pid.text(5), pid.text(5, 2)))), "birth_date": pid.text(7)}
    found = list(Patient.objects.filter(site=site, mrn__in=mrns)[:2])
    fault = None
    if len(found) != 1:
        problem = f"{len(found)} patients of this site have the number {', '.join(mrns) or '(none)'}."
        fault = InvalidInput("unknown_patient", problem, "Register the patient, or name the right one.")
    elif born and found[0].birth_date and born.date() != found[0].birth_date:
        problem = f"The patient of number {found[0].mrn} was born on another day than the message says."
        fault = InvalidInput("other_birth_date", problem, "Name the right patient.")
    return {"patient": None if fault else found[0], "fault": fault, "seen": seen}
