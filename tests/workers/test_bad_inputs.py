"""Bad files, handed in as people hand them in: read in a real child process, rejected by name, nothing lost."""

import gzip
import io
import struct
import tempfile
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from clinic.audit.models import Action, AuditEvent
from clinic.cases import files, services
from clinic.cases.models import ItemStatus, StudyItem
from clinic.errors import InvalidInput
from clinic.patients.services import register_patient
from genomics import synthetic as tables
from ml import synthetic
from tests.ml.test_images import png_claiming
from tests.workers.test_archives import link, made

pytestmark = pytest.mark.django_db


def picture():
    stream = io.BytesIO()
    Image.fromarray(synthetic.draw_field("Pre-B", 1)).save(stream, "PNG")
    return stream.getvalue()


def lying_dicom():
    """A real DICOM file whose pixel data says that it is 2 GiB long."""
    dataset = pydicom.dcmread(get_testdata_file("examples_rgb_color.dcm"))
    dataset.Modality = "GM"
    stream = io.BytesIO()
    dataset.save_as(stream)
    said = stream.getvalue()
    at = said.rindex(b"\xe0\x7f\x10\x00") + 8
    return said[:at] + struct.pack("<I", 2**31) + said[at + 4 :]


def counts(*rows, sample="S1"):
    """A table of 300 genes, followed by ``rows``."""
    plain = [f"ENSG{k:011d}\t{k % 97}" for k in range(300)]
    return "\n".join([f"gene\t{sample}", *plain, *rows, ""]).encode()


def gene_twice():
    """A synthetic sample that would be read, were it not for its last gene, which it has twice."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.tsv"
        tables.write_expression(path, "T-ALL", 1)
        return path.read_bytes() + path.read_bytes().splitlines(keepends=True)[-1]


LABS_JSON = '[{"loinc": "6690-2", "value": 12.1, "unit": "furlong"}]'


def link_in_a_zip():
    return made([(link("a.tsv"), b"/etc/passwd")])


BAD = {
    # name → kind of item, content, what the rejection must mention
    "cut.png": ("smear_field", picture()[:900], ()),
    "text.png": ("smear_field", b"no picture at all", ("Send PNG",)),
    "huge.png": ("smear_field", png_claiming(50_000, 50_000), ("48,000,000 pixels",)),
    "cut.jpg": ("smear_cell", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01", ()),
    "lying.dcm": ("smear_field", lying_dicom(), ("2,147,483,648",)),
    "cut.dcm": ("smear_cell", b"\0" * 128 + b"DICM\x02\0\0\0", ()),
    "picture.tsv": ("expression", picture(), ()),
    "cut.tsv.gz": ("expression", gzip.compress(counts())[:300], ()),
    "links.zip": ("expression", link_in_a_zip, ("a link",)),
    "bomb.tsv.gz": ("expression", gzip.compress(b"\0" * 10**8), ()),
    "nan.tsv": ("expression", counts("TP53\tNaN"), ("TP53",)),
    "word.tsv": ("expression", counts("TP53\tmany"), ("TP53", "many")),
    "twice.tsv": ("expression", gene_twice, ("ENSG",)),
    "negative.tsv": ("expression", counts("TP53\t-4"), ("-4",)),
    "unit.csv": ("labs", b"loinc,value,unit\n6690-2,12.1,furlong\n", ("furlong",)),
    "unit.json": ("labs", LABS_JSON.encode(), ("furlong",)),
    "cut.json": ("labs", LABS_JSON[:-9].encode(), ()),
    "nan.csv": ("labs", b"age,WBC_G_L,Platelets_G_L,MCV_fL\n54,nope,32,98\n", ("WBC_G_L", "nope")),
    "binary.csv": ("labs", bytes(range(256)) * 20, ()),
}


@pytest.fixture
def case(site, clinician):
    return services.open_case(patient=register_patient(site=site, mrn="B-1", name="Bad", by=clinician), by=clinician)


@pytest.mark.requirement("M-4")
@pytest.mark.parametrize("name", BAD)
def test_it_is_rejected_with_file_place_and_remedy(name, case, clinician, django_capture_on_commit_callbacks):
    kind, content, mentions = BAD[name]
    content = content() if callable(content) else content
    with django_capture_on_commit_callbacks(execute=True):
        item = services.receive_item(case=case, file=[content], filename=name, kind=kind, options={}, by=clinician)
    item.refresh_from_db()
    assert item.status == ItemStatus.REJECTED
    said = item.rejection
    assert said["code"] not in {"reader_failed", "reader_died", "reader_time"}
    assert name in said["place"]
    assert said["remedy"].endswith((".", "?"))
    assert all(word in f"{said['place']} {said['problem']} {said['remedy']}" for word in mentions), said
    assert files.opened(item.sha256).read() == content
    assert AuditEvent.objects.filter(action=Action.ITEM_REJECT, object_id=str(item.pk)).count() == 1


@pytest.mark.parametrize("kind", ["smear_field", "smear_cell", "expression", "labs", "history"])
def test_an_empty_file_is_refused_at_the_door(kind, case, clinician):
    with pytest.raises(InvalidInput) as refusal:
        services.receive_item(case=case, file=[b""], filename="empty.dat", kind=kind, options={}, by=clinician)
    assert (refusal.value.code, refusal.value.place) == ("empty", "empty.dat")
    assert not StudyItem.objects.exists()


def test_after_a_bad_file_a_good_one_is_read(case, clinician, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        item = services.receive_item(
            case=case, file=[picture()], filename="good.png", kind="smear_field", options={}, by=clinician
        )
    item.refresh_from_db()
    assert item.status == ItemStatus.VALID
    assert (item.summary["width"], item.summary["height"]) == (224, 224)
