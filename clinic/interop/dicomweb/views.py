"""DICOMweb (PS3.18): STOW-RS in, QIDO-RS of what came in. Reading is written down, as everywhere."""

from django.conf import settings
from django.db import transaction
from rest_framework.response import Response

from clinic.accounts.access import require
from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.interop.dicomweb import parts, searching
from clinic.interop.dicomweb.base import JsonView
from clinic.interop.dicomweb.retrieving import OneStudy
from clinic.interop.dicomweb.services import instances_visible_to, store

FORM_OVERHEAD_BYTES = 1024**2


class Search(JsonView):
    """QIDO-RS. ``level``: studies, series or instances."""

    level = "studies"

    @transaction.atomic
    def get(self, request, **uids):
        require(request.user, "case.view")
        rows = instances_visible_to(request.user)
        rows = rows.filter(study__uid=uids["study"]) if "study" in uids else rows
        rows = rows.filter(series_uid=uids["series"]) if "series" in uids else rows
        rows = searching.matching(rows, request.query_params)
        groups = searching.grouped(rows, self.level, searching.window(request.query_params))
        hits = [str(one.item_id) for group in groups for one in group]
        said = {"dicomweb": self.level, "query": request.query_params.dict() | uids, "hits": hits}
        record(Action.ITEM_READ, by=request.user, detail=said)
        return Response([searching.told(group, self.level, self.base_url()) for group in groups])


class Studies(Search):
    def post(self, request, study=None):
        with parts.received(request, settings.UPLOAD_MAX_BYTES + FORM_OVERHEAD_BYTES) as (data, found):
            became = store(data=data, found=found, by=request.user, study_uid=study)
        failed = [one for one in became if one.failure]
        status = 200 if not failed else 409 if len(failed) == len(became) else 202
        return Response(_stored(became, self.base_url()), status=status)


class OneStudyOrMore(OneStudy):
    """WADO-RS of a study, and STOW-RS into it."""

    post = Studies.post


def _stored(became, base_url):
    """The answer to a STOW: what was stored, what was not and why."""
    failed = [_reference(one) | _value("00081197", "US", one.failure) for one in became if one.failure]
    stored = [_reference(one) | _retrieve(one, base_url) for one in became if not one.failure]
    said = {}
    if failed:
        said["00081198"] = {"vr": "SQ", "Value": failed}
    if stored:
        said["00081199"] = {"vr": "SQ", "Value": stored}
        studies = {one.study_uid for one in became if not one.failure}
        if len(studies) == 1:
            said = _value("00081190", "UR", f"{base_url}/studies/{studies.pop()}") | said
    return said


def _reference(one):
    return _value("00081150", "UI", one.sop_class) | _value("00081155", "UI", one.sop_uid)


def _retrieve(one, base_url):
    url = f"{base_url}/studies/{one.study_uid}/series/{one.series_uid}/instances/{one.sop_uid}"
    return _value("00081190", "UR", url)


def _value(tag, vr, value):
    return {tag: {"vr": vr, "Value": [value]} if value != "" else {"vr": vr}}
