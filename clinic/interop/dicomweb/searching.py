"""QIDO-RS: studies, series and instances by their attributes, as DICOM JSON."""

import re

from django.db.models import Q

from clinic.errors import InvalidInput

MOST, USUAL = 1000, 100
STUDY = ("00080005", "00080020", "00080030", "00080050", "00080090", "00080201", "00100010", "00100020", "00100030",
         "00100040", "0020000D", "00200010", "00081030")  # fmt: skip
SERIES = ("00080021", "00080031", "00080060", "0008103E", "0020000E", "00200011")
TEXT_FIELDS = {
    "StudyInstanceUID": "study__uid",
    "SeriesInstanceUID": "series_uid",
    "SOPInstanceUID": "sop_uid",
    "SOPClassUID": "sop_class",
    "PatientID": "study__case__patient__mrn",
    "PatientName": "study__case__patient__name",
    "Modality": "modality",
    "ModalitiesInStudy": "modality",
    "AccessionNumber": "accession",
    "ReferringPhysicianName": "referring",
    "StudyID": "study_number",
    "SeriesNumber": "series_number",
    "InstanceNumber": "instance_number",
}
TAGS = {
    "0020000D": "StudyInstanceUID",
    "0020000E": "SeriesInstanceUID",
    "00080018": "SOPInstanceUID",
    "00080016": "SOPClassUID",
    "00100020": "PatientID",
    "00100010": "PatientName",
    "00080060": "Modality",
    "00080061": "ModalitiesInStudy",
    "00080050": "AccessionNumber",
    "00080020": "StudyDate",
    "00080030": "StudyTime",
    "00080090": "ReferringPhysicianName",
    "00200010": "StudyID",
    "00200011": "SeriesNumber",
    "00200013": "InstanceNumber",
}
NAMES = {"study__case__patient__name", "referring"}  # matched whatever the case of their letters
CONTROLS = {"limit", "offset", "includefield", "fuzzymatching"}
RANGES = {  # field, pattern, and how to write one
    "StudyDate": ("study_date", re.compile(r"(\d{8})?(-)?(\d{8})?"), "20260302 or 20260301-20260331"),
    "StudyTime": ("study_time", re.compile(r"([\d.]{2,16})?(-)?([\d.]{2,16})?"), "0800-1200"),
}


def matching(rows, params):
    """``rows`` of instances that the query's attributes match. Raises InvalidInput for one that is not known."""
    for said, texts in params.lists():
        if said in CONTROLS:
            continue
        name = TAGS.get(said.upper(), said)
        if name in RANGES:
            rows = rows.filter(_range(name, texts[-1]))
        elif name in TEXT_FIELDS:
            rows = rows.filter(_words(TEXT_FIELDS[name], texts))
        else:
            known = ", ".join([*TEXT_FIELDS, *RANGES])
            raise InvalidInput(
                "unknown_attribute", f"{said[:60]!r} cannot be matched.", f"Use {known}.", place=said[:60]
            )
    return rows


def _words(field, texts):
    """Commas and backslashes part alternatives; * and ? stand for any characters."""
    found = Q(pk__in=[])
    for text in re.split(r"[,\\]", ",".join(texts)):
        if "*" in text or "?" in text:
            pattern = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in text[:200])
            found |= Q(**{f"{field}__iregex": f"^{pattern}$"})
        else:
            found |= Q(**{f"{field}__iexact" if field in NAMES else field: text})
    return found


def _range(name, text):
    """One date or time, or from one to another; "12" as an end is all of that hour."""
    field, pattern, example = RANGES[name]
    match = pattern.fullmatch(text)
    if not match or not text:
        raise InvalidInput("bad_date", f"{text[:40]!r} cannot be read.", f"Use {example}.", place=name)
    first, dash, last = match.groups()
    if not dash:
        return Q(**{f"{field}__startswith": first})
    from_ = Q(**{f"{field}__gte": first}) if first else ~Q(**{field: ""})
    return from_ & (Q(**{f"{field}__lte": last.ljust(16, "9")}) if last else Q())


def window(params):
    """(offset, limit)."""
    said = {}
    for name, usual in (("offset", 0), ("limit", USUAL)):
        text = params.get(name, str(usual))
        if not (text.isascii() and text.isdigit() and len(text) < 8):
            raise InvalidInput("bad_number", f"{name} must be a whole number.", "For example 50.", place=name)
        said[name] = int(text)
    return said["offset"], min(said["limit"], MOST)


def grouped(rows, level, window_):
    """One row a study, a series or an instance, with its count of those below."""
    offset, limit = window_
    key = {"studies": ("study__uid",), "series": ("study__uid", "series_uid"), "instances": ("pk",)}[level]
    seen = rows.order_by("-study__received_at", *key).values_list(*key).distinct()[offset : offset + limit]
    return [list(rows.filter(**dict(zip(key, one, strict=True))).order_by("pk")) for one in seen]


def told(instances, level, base_url):
    """The answer's attributes for one study, series or instance."""
    first = instances[0]
    address = f"{base_url}/studies/{first.study.uid}"
    said = dict(first.header) if level == "instances" else _only(first.header, STUDY)
    said["00080056"] = {"vr": "CS", "Value": ["ONLINE"]}
    if level == "studies":
        said["00080061"] = {"vr": "CS", "Value": sorted({one.modality for one in instances if one.modality})}
        said["00201206"] = {"vr": "IS", "Value": [len({one.series_uid for one in instances})]}
        said["00201208"] = {"vr": "IS", "Value": [len(instances)]}
    if level == "series":
        address += f"/series/{first.series_uid}"
        said |= _only(first.header, SERIES)
        said["00201209"] = {"vr": "IS", "Value": [len(instances)]}
    if level == "instances":
        address += f"/series/{first.series_uid}/instances/{first.sop_uid}"
    said["00081190"] = {"vr": "UR", "Value": [address]}
    return dict(sorted(said.items()))


def _only(header, tags):
    return {tag: header[tag] for tag in tags if tag in header}
