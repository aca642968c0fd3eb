"""WADO-RS: files, frames and pictures out, each by what the client takes, and each written down."""

import io

import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import Dataset, dcmread
from requests import Session

from clinic.audit.models import Action, AuditEvent
from clinic.cases.models import StudyItem
from tests.clinic.interop.dicom import SLIDE, STUDY, WHOLE, dicom, item_of, multipart, noise, slide
from tests.factories import PatientFactory
from tests.security.matrix import token_for

pytestmark = pytest.mark.django_db
INSTANCE = f"/dicomweb/studies/{STUDY}/series/{STUDY}.1/instances/{STUDY}.1.1"
BYTES = 'multipart/related; type="application/octet-stream"'


@pytest.fixture
def stow(api, integrator, site, django_capture_on_commit_callbacks):
    """Stores files and lets the reader read them."""
    PatientFactory(site=site, mrn="M1")

    def stored(*files):
        body, content_type = multipart(*files)
        with django_capture_on_commit_callbacks(execute=True):
            answer = api(integrator).generic("POST", "/dicomweb/studies", body, content_type=content_type)
        assert answer.status_code == 200, answer.content

    return stored


@pytest.fixture
def get(api, clinician):
    def got(path, accept=None):
        return api(clinician).get(f"{INSTANCE}{path}", headers={"Accept": accept} if accept else {})

    return got


def parts_of(answer):
    """[(the part's media type, its bytes)] of a multipart answer."""
    said = answer.headers["Content-Type"]
    mark = b"--" + said.rpartition("boundary=")[2].encode()
    found = b"".join(answer.streaming_content).split(mark)[1:-1]
    halves = [one[2:-2].partition(b"\r\n\r\n") for one in found]
    return [(head.decode().removeprefix("Content-Type: "), body) for head, _, body in halves]


def test_frames_are_given_as_they_are_stored(stow, get):
    stow(dicom(1, frames=3))
    answer = get("/frames/3,1", BYTES)
    assert answer.status_code == 200, answer.content
    assert answer.headers["Content-Type"].startswith(BYTES)
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    pixels = noise(1, 3, 64)
    syntax = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert parts_of(answer) == [(syntax, pixels[2].tobytes()), (syntax, pixels[0].tobytes())]
    event = AuditEvent.objects.filter(action=Action.ITEM_DOWNLOAD).get()
    assert '"frames":[3,1]' in event.body


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"),
        ('multipart/related; type="image/jpeg"', "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"),
        (f"{BYTES}; transfer-syntax=*", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.50"),
        (BYTES, None),
        ('multipart/related; type="image/jp2"', None),
        ('multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.90', None),
        ('multipart/related; type="image/jpeg"; q=0', None),
    ],
)
def test_compressed_frames_are_never_decoded_here(stow, get, accept, media_type):
    stow(dicom(1, frames=2, jpeg=True))
    answer = get("/frames/2", accept)
    if media_type is None:
        assert (answer.status_code, answer.json()["status"]) == (406, 406)
        return
    ((said, body),) = parts_of(answer)
    assert said == media_type
    assert body.startswith(b"\xff\xd8\xff")


REFUSED = {
    "/frames/0": 400,
    "/frames/a": 400,
    "/frames/1,,2": 400,
    "/frames/4": 404,
    "/frames/1,4": 404,
    "/frames/4/rendered": 404,
    "/frames/1,2/rendered": 400,
    "/rendered?viewport=0,1": 400,
    "/rendered?quality=101": 400,
}


@pytest.mark.parametrize(("path", "status"), REFUSED.items())
def test_what_is_no_frame_is_refused_and_read_by_nobody(stow, get, path, status):
    stow(dicom(1, frames=3))
    before = AuditEvent.objects.filter(action__in=[Action.ITEM_DOWNLOAD, Action.ITEM_READ]).count()
    answer = get(path)
    assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)
    assert AuditEvent.objects.filter(action__in=[Action.ITEM_DOWNLOAD, Action.ITEM_READ]).count() == before


def test_pixels_that_the_reader_refused_are_not_taken_apart(stow, get):
    stow(dicom(1, side=16))  # too small to be read
    assert StudyItem.objects.get().status == "rejected"
    assert get("/frames/1").status_code == 404
    assert get("/rendered").status_code == 404
    assert get("", 'multipart/related; type="application/dicom"').status_code == 200


@pytest.mark.parametrize(
    ("path", "accept", "kind", "size"),
    [
        ("/rendered", None, "JPEG", (64, 64)),
        ("/rendered", "image/png", "PNG", (64, 64)),
        ("/frames/3/rendered", "image/png", "PNG", (64, 64)),
        ("/frames/3/rendered?viewport=32,32&quality=50", "image/*", "JPEG", (32, 32)),
        ("/frames/2/rendered?viewport=16,32", "image/png;q=0.9, image/jpeg;q=0.1", "PNG", (16, 16)),
    ],
)
def test_a_frame_is_rendered_as_the_models_saw_it(stow, get, path, accept, kind, size):
    stow(dicom(1, frames=3))
    answer = get(path, accept)
    assert answer.status_code == 200, answer.content
    assert answer.headers["Content-Type"] == f"image/{kind.lower()}"
    picture = Image.open(io.BytesIO(answer.getvalue()))
    assert (picture.format, picture.size) == (kind, size)
    if kind == "PNG" and size == (64, 64):
        number = 3 if "frames" in path else 1
        assert (np.asarray(picture) == noise(1, 3, 64)[number - 1]).all()
    assert AuditEvent.objects.filter(action=Action.ITEM_READ).exists()


def test_rendering_in_another_form_is_not_acceptable(stow, get):
    stow(dicom(1))
    assert get("/rendered", "image/gif").status_code == 406
    assert get("/metadata", "application/dicom+xml").status_code == 406
    assert get("", 'multipart/related; type="application/octet-stream"').status_code == 406


def test_of_many_frames_those_that_were_read_are_rendered_by_their_own_number(stow, get):
    stow(dicom(1, frames=70, side=48))
    read = StudyItem.objects.get().summary["frame_numbers"]
    missing = next(n for n in range(1, 71) if n not in read)
    picture = Image.open(io.BytesIO(get(f"/frames/{read[-1]}/rendered", "image/png").getvalue()))
    assert (np.asarray(picture) == noise(1, 70, 48)[read[-1] - 1]).all()
    assert get(f"/frames/{missing}/rendered").status_code == 404
    assert len(parts_of(get(f"/frames/{missing}"))) == 1


def test_one_instance_comes_as_one_file_where_that_is_wanted(stow, get):
    sent = dicom(1)
    stow(sent)
    answer = get("", "application/dicom")
    assert (answer.headers["Content-Type"], b"".join(answer.streaming_content)) == ("application/dicom", sent)


def test_a_slide_is_described_whole_but_for_its_bulk(stow, get):
    stow(slide(1))
    (said,) = get("/metadata").json()
    told = Dataset.from_json(said)
    assert told.SOPClassUID == WHOLE
    assert (told.NumberOfFrames, told.TotalPixelMatrixColumns, told.DimensionOrganizationType) == (4, 128, "TILED_FULL")
    assert told.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == [0.00025, 0.00025]
    assert told.OpticalPathSequence[0].ObjectiveLensPower == 40
    assert "ICCProfile" not in told.OpticalPathSequence[0]
    assert told.ImageOrientationSlide == [0, -1, 0, -1, 0, 0]


def test_a_slide_coordinates_image_says_where_on_the_slide_it_was(stow, get):
    centre = item_of(XOffsetInSlideCoordinateSystem=12.5, YOffsetInSlideCoordinateSystem=3.25)
    stow(dicom(1, sop_class=SLIDE, ImageCenterPointCoordinatesSequence=[centre], ContainerIdentifier="S26-1"))
    told = Dataset.from_json(get("/metadata").json()[0])
    assert told.ImageCenterPointCoordinatesSequence[0].XOffsetInSlideCoordinateSystem == 12.5
    assert told.ContainerIdentifier == "S26-1"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("StudyTime=0815", 1), ("StudyTime=0800-0900", 1), ("StudyTime=0816-", 0), ("StudyTime=-08", 1),
        ("ReferringPhysicianName=house*", 1), ("ReferringPhysicianName=Wilson*", 0), ("StudyID=S-1", 1),
        ("SeriesNumber=7", 1), ("InstanceNumber=1", 1), ("InstanceNumber=2", 0), ("00200011=8", 0),
    ],
)  # fmt: skip
def test_every_attribute_that_the_standard_requires_can_be_searched(stow, api, clinician, query, count):
    stow(dicom(1))
    assert len(api(clinician).get(f"/dicomweb/studies?{query}").json()) == count


def test_a_study_and_a_series_tell_what_the_standard_requires(stow, api, clinician):
    stow(dicom(1), dicom(2))
    required = ("00080020 00080030 00080050 00080056 00080061 00080090 00081190 00100010 00100020 0020000D 00200010 "
                "00201206 00201208")  # fmt: skip
    (study,) = api(clinician).get("/dicomweb/studies").json()
    assert set(required.split()) <= set(study)
    (series,) = api(clinician).get("/dicomweb/series").json()
    assert {"00080060", "00081190", "0020000E", "00200011", "00201209", "0020000D"} <= set(series)
    instance = api(clinician).get("/dicomweb/instances").json()[0]
    assert {"00080016", "00080018", "00081190", "00200013", "00280010", "00280011", "00280100"} <= set(instance)


@pytest.mark.django_db(transaction=True)
def test_dicomweb_client_fetches_frames_and_pictures(live_server, site, integrator):
    PatientFactory(site=site, mrn="M1")
    session = Session()
    session.headers["Authorization"] = f"Token {token_for(integrator)}"
    client = DICOMwebClient(url=f"{live_server.url}/dicomweb", session=session)
    client.store_instances([dcmread(io.BytesIO(slide(1))), dcmread(io.BytesIO(dicom(2, frames=2, jpeg=True)))])
    assert set(StudyItem.objects.values_list("status", flat=True)) == {"valid"}
    one = (STUDY, f"{STUDY}.1", f"{STUDY}.1.1")
    frames = client.retrieve_instance_frames(*one, [1, 4])
    assert frames == [noise(1, 4, 64)[k].tobytes() for k in (0, 3)]
    (jpeg,) = client.retrieve_instance_frames(*one[:2], f"{STUDY}.1.2", [2], media_types=("image/jpeg",))
    assert Image.open(io.BytesIO(jpeg)).size == (64, 64)
    png = client.retrieve_instance_frames_rendered(*one, [4], media_types=("image/png",))
    assert (np.asarray(Image.open(io.BytesIO(png))) == noise(1, 4, 64)[3]).all()
    assert Image.open(io.BytesIO(client.retrieve_instance_rendered(*one, media_types=("image/jpeg",)))).format == "JPEG"
    session.close()
