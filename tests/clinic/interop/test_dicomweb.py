"""DICOMweb from outside: by its own words, and by dicomweb-client against a live server."""

import io
import random

import pytest
from dicomweb_client.api import DICOMwebClient
from fhir.resources.R4B import get_fhir_model_class
from pydicom import dcmread
from requests import Session

from clinic.audit.models import Action, AuditEvent
from clinic.cases.models import StudyItem
from clinic.interop.dicomweb.models import DicomInstance
from tests.clinic.interop.dicom import CT, SC, SLIDE, STUDY, WHOLE, dicom, multipart
from tests.factories import CaseFactory, PatientFactory
from tests.security.matrix import token_for

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch):
    """The readers have their own tests; here items are only received."""
    monkeypatch.setattr("clinic.cases.services.send", lambda *_: None)


@pytest.fixture
def patient(site):
    return PatientFactory(site=site, mrn="M1")


@pytest.fixture
def stow(api, integrator):
    def stored(*files, to="studies", **said):
        body, content_type = multipart(*files, **said)
        return api(integrator).generic("POST", f"/dicomweb/{to}", body, content_type=content_type)

    return stored


def reasons(answer):
    return [one["00081197"]["Value"][0] for one in answer.json()["00081198"]["Value"]]


def test_instances_become_items_of_the_newest_case(stow, patient):
    case = CaseFactory(patient=patient)
    answer = stow(dicom(1), dicom(2, sop_class=SLIDE), dicom(3, sop_class=WHOLE), dicom(4, sop_class=SC))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/dicom+json"
    assert "00081198" not in answer.json()
    stored = answer.json()["00081199"]["Value"]
    assert [one["00081155"]["Value"][0] for one in stored] == [f"{STUDY}.1.{n}" for n in (1, 2, 3, 4)]
    assert {item.case for item in StudyItem.objects.all()} == {case}
    assert AuditEvent.objects.filter(action=Action.ITEM_RECEIVE).count() == 4


def test_the_same_instance_again_changes_nothing_and_another_under_its_uid_is_refused(stow, patient):
    assert stow(dicom(1)).status_code == 200
    assert stow(dicom(1)).status_code == 200
    assert StudyItem.objects.count() == 1
    answer = stow(dicom(1, seed=99))
    assert (answer.status_code, reasons(answer)) == (409, [0x0111])
    assert StudyItem.objects.count() == 1


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (dicom(2, sop_class=CT), 0x0122),
        (dicom(2, mrn="unknown"), 0x0124),
        (b"no dicom at all", 0xC000),
        (dicom(2)[:300], 0xC000),
        (b"", 0xC000),
    ],
)
def test_some_are_stored_and_the_others_named_with_the_reason(stow, patient, file, reason):
    answer = stow(dicom(1), file)
    assert (answer.status_code, reasons(answer)) == (202, [reason])
    assert len(answer.json()["00081199"]["Value"]) == 1
    answer = stow(file)
    assert (answer.status_code, reasons(answer)) == (409, [reason])


def test_an_instance_of_another_study_than_the_address_is_refused(stow, patient):
    assert stow(dicom(1), to=f"studies/{STUDY}").status_code == 200
    assert reasons(stow(dicom(1, study="1.2.3"), to=f"studies/{STUDY}")) == [0xA900]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"x", "application/dicom", 415),
        (b"x", "multipart/related", 400),
        (b"", "multipart/related; boundary=B", 400),
        (b"no part", "multipart/related; boundary=B", 400),
        (b"--B\r\nContent-Type: application/dicom", "multipart/related; boundary=B", 400),
    ],
)
def test_a_body_that_is_no_multipart_is_refused(api, integrator, body, content_type, status):
    answer = api(integrator).generic("POST", "/dicomweb/studies", body, content_type=content_type)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_a_body_that_is_too_large_is_refused(stow, patient, settings):
    settings.UPLOAD_MAX_BYTES = 1000
    assert stow(dicom(1, side=700)).status_code == 413


def test_studies_are_found_by_their_attributes_and_only_ones_own(stow, patient, api, clinician, outsider):
    stow(dicom(1), dicom(2))

    def found(query, level="studies", user=clinician):
        return api(user).get(f"/dicomweb/{level}{query}").json()

    (study,) = found("?PatientID=M1&StudyDate=20260301-20260331&includefield=all")
    assert study["0020000D"]["Value"] == [STUDY]
    assert study["00201208"]["Value"] == [2]
    for query in (
        "?00100020=M1",
        "?Modality=SM",
        "?PatientName=Testperson*",
        "?AccessionNumber=A-1",
        "?StudyDate=20260302-",
    ):
        assert len(found(query)) == 1
    for query in ("?PatientID=M2", "?StudyDate=20260303-", "?Modality=CT", "?PatientName=Nobody"):
        assert found(query) == []
    assert len(found("?limit=1&offset=1", "instances")) == 1
    assert len(found(f"/{STUDY}/series")) == 1
    assert found("", user=outsider) == []
    for query in ("?Shoesize=41", "?StudyDate=soon", "?limit=all"):
        assert api(clinician).get(f"/dicomweb/studies{query}").status_code == 400
    event = AuditEvent.objects.filter(action=Action.ITEM_READ).first()
    assert "dicomweb" in event.body


def test_a_study_is_an_imaging_study_in_fhir(stow, patient, api, clinician):
    stow(dicom(1), dicom(2))
    said = api(clinician).get(f"/fhir/ImagingStudy?identifier=urn:dicom:uid|urn:oid:{STUDY}").json()
    get_fhir_model_class("Bundle").model_validate(said)
    resource = said["entry"][0]["resource"]
    assert (resource["numberOfInstances"], resource["series"][0]["modality"]["code"]) == (2, "SM")
    assert resource["started"] == "2026-03-02"
    assert api(clinician).get(f"/fhir/ImagingStudy/{resource['id']}").json() == resource
    for query, hits in (("started=2026-03", 1), ("started=gt2026-03-02", 0), ("modality=SM", 1), ("modality=CT", 0)):
        found = api(clinician).get(f"/fhir/ImagingStudy?{query}&status=available").json()
        assert len(found.get("entry", [])) == hits


def mutated(file, rng):
    """A DICOM file with its header changed, cut or doubled somewhere."""
    data = bytearray(file)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(128, min(len(data), 1500)) if len(data) > 200 else rng.randrange(max(len(data), 1))
        what = rng.randrange(4)
        if what == 0 and data:
            data[at] = rng.randrange(256)
        elif what == 1:
            del data[at : at + rng.randint(1, 400)]
        elif what == 2:
            data[at:at] = data[at : at + rng.randint(1, 200)]
        else:
            data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\x00\xe0", b"\x7f\xff\xff\xff"])
    return bytes(data)


def test_mutations_are_stored_or_refused(stow, patient):
    rng = random.Random(8)
    answers = {stow(mutated(dicom(n, side=16), rng)).status_code for n in range(40)}
    assert answers <= {200, 409}
    assert len(answers) == 2


@pytest.mark.django_db(transaction=True)
def test_dicomweb_client_stores_finds_and_fetches(live_server, site, integrator, patient):
    session = Session()
    session.headers["Authorization"] = f"Token {token_for(integrator)}"
    client = DICOMwebClient(url=f"{live_server.url}/dicomweb", session=session)
    sent = [dicom(1), dicom(2)]
    said = client.store_instances([dcmread(io.BytesIO(file)) for file in sent])
    assert len(said.ReferencedSOPSequence) == 2
    assert client.search_for_studies(search_filters={"PatientID": "M1"})[0]["0020000D"]["Value"] == [STUDY]
    assert len(client.search_for_series(STUDY)) == 1
    assert len(client.search_for_instances(STUDY, f"{STUDY}.1")) == 2
    got = client.retrieve_instance(STUDY, f"{STUDY}.1", f"{STUDY}.1.2")
    assert got.PixelData == dcmread(io.BytesIO(sent[1])).PixelData
    assert len(client.retrieve_study(STUDY)) == 2
    metadata = client.retrieve_instance_metadata(STUDY, f"{STUDY}.1", f"{STUDY}.1.1")
    assert metadata["00280010"]["Value"] == [64]
    assert len(client.retrieve_series_metadata(STUDY, f"{STUDY}.1")) == 2
    assert AuditEvent.objects.filter(action=Action.ITEM_DOWNLOAD).count() == 3
    assert DicomInstance.objects.count() == 2
    session.close()
