"""Fetching from public sources, against a server on this machine: resumed, checked, and readable by the product."""

from __future__ import annotations

import gzip
import hashlib
import json

import httpx
import numpy as np
import pandas as pd
import pytest

from genomics import __main__ as cli
from genomics.sources import gdc, geo
from genomics.sources.download import SUMS, Remote, digest, fetch_all, open_client
from ml.findings import InputRejected
from tests.genomics.make import counts, read_expression
from tests.genomics.public_source import PublicSource

DATA = bytes(range(256)) * 800


@pytest.fixture
def source():
    with PublicSource() as running:
        yield running


@pytest.fixture
def client():
    with open_client() as opened:
        yield opened


@pytest.fixture
def waited():
    return []


def md5(data):
    return hashlib.md5(data).hexdigest()


class TestDownload:
    @pytest.fixture(autouse=True)
    def one_file(self, source, client, tmp_path, waited):
        source.files["/a.bin"] = DATA
        self.source, self.folder, self.waited = source, tmp_path / "out", waited
        self.remote = Remote(f"{source.url}/a.bin", "x/a.bin", len(DATA), md5(DATA))
        self.fetch = lambda *remotes: fetch_all(
            client, list(remotes or [self.remote]), self.folder, what="test", sleep=waited.append
        )

    def ranges(self):
        return self.source.of("/a.bin")

    def test_a_file_is_fetched_once(self):
        (path,) = self.fetch()
        assert path.read_bytes() == DATA
        assert (self.folder / SUMS).read_text() == f"{hashlib.sha256(DATA).hexdigest()}  x/a.bin\n"
        assert self.fetch() == [path]
        assert (self.ranges(), self.waited) == ([None], [])
        assert [p.name for p in path.parent.iterdir()] == ["a.bin"]

    def test_a_cut_connection_goes_on_where_it_stopped(self):
        self.source.faults["/a.bin"] = ["cut", "cut"]
        (path,) = self.fetch()
        assert path.read_bytes() == DATA
        half = len(DATA) // 2
        assert self.ranges() == [None, f"bytes={half}-", f"bytes={half + half // 2}-"]
        assert self.waited == [1, 2]

    def test_another_run_goes_on_where_the_last_was_killed(self):
        part = self.folder / "x" / "a.bin.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(DATA[:1000])
        (path,) = self.fetch()
        assert (path.read_bytes(), self.ranges()) == (DATA, ["bytes=1000-"])

    def test_a_part_that_is_whole_is_asked_for_no_more(self):
        part = self.folder / "x" / "a.bin.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(DATA)
        assert self.fetch()[0].read_bytes() == DATA
        assert self.ranges() == []

    @pytest.mark.parametrize("fault", ["whole", "shifted"])
    def test_a_server_that_keeps_to_no_range(self, fault):
        self.source.faults["/a.bin"] = ["cut", fault]
        assert self.fetch()[0].read_bytes() == DATA

    def test_a_file_that_has_changed_meanwhile_is_fetched_anew(self):
        self.source.faults["/a.bin"] = ["cut"] * 5
        with pytest.raises(InputRejected, match="goes on from where it stopped") as caught:
            self.fetch()
        assert caught.value.code == "unreachable"
        new = DATA[::-1]
        self.source.files["/a.bin"] = new
        self.remote = Remote(self.remote.url, "x/a.bin", len(new), md5(new))
        assert self.fetch()[0].read_bytes() == new
        assert self.ranges()[-1] is not None

    def test_a_part_longer_than_the_file_is_thrown_away(self):
        part = self.folder / "x" / "a.bin.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(DATA * 2)
        assert self.fetch()[0].read_bytes() == DATA

    def test_a_busy_server_is_given_the_time_that_it_asks_for(self):
        self.source.faults["/a.bin"] = ["busy", "busy"]
        assert self.fetch()[0].read_bytes() == DATA
        assert self.waited == [7, 7]

    def test_a_wrong_sum_is_fetched_anew_and_in_the_end_refused(self):
        self.source.faults["/a.bin"] = ["wrong"]
        assert self.fetch()[0].read_bytes() == DATA
        self.source.faults["/b.bin"] = ["wrong"] * 9
        self.source.files["/b.bin"] = DATA
        with pytest.raises(InputRejected, match="MD5") as caught:
            self.fetch(Remote(f"{self.source.url}/b.bin", "b.bin", len(DATA), md5(DATA)))
        assert (caught.value.code, caught.value.place) == ("checksum", f"{self.source.url}/b.bin")
        assert not list(self.folder.glob("b.bin*"))

    def test_a_changed_file_on_disk_is_fetched_again(self):
        remote = Remote(self.remote.url, "x/a.bin")
        (path,) = self.fetch(remote)
        path.write_bytes(DATA[:-1] + b"?")
        assert self.fetch(remote)[0].read_bytes() == DATA
        assert len(self.ranges()) == 2

    def test_a_damaged_gzip_is_refused_where_no_sum_is_stated(self):
        self.source.files["/a.gz"] = gzip.compress(DATA)[:-4]
        with pytest.raises(InputRejected, match="gzip file is damaged") as caught:
            self.fetch(Remote(f"{self.source.url}/a.gz", "a.gz"))
        assert caught.value.code == "truncated"

    @pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (403, "no_access"), (401, "no_access")])
    def test_what_is_not_there_or_not_open(self, status, code):
        self.source.answers["/a.bin"] = lambda _: status
        with pytest.raises(InputRejected) as caught:
            self.fetch()
        assert (caught.value.code, caught.value.place, self.waited) == (code, self.remote.url, [])

    @pytest.mark.parametrize("name", ["../a.bin", "/etc/a.bin", "x/.ssh", "x/../../a", "."])
    def test_a_name_may_not_lead_out(self, name):
        with pytest.raises(InputRejected) as caught:
            self.fetch(Remote(self.remote.url, name))
        assert (caught.value.code, self.ranges()) == ("unsafe_name", [])

    def test_no_network_at_all(self, waited):
        def refuse(request):
            raise httpx.ConnectError("no route to host")

        with open_client(transport=httpx.MockTransport(refuse)) as nobody, pytest.raises(InputRejected) as caught:
            fetch_all(nobody, [self.remote], self.folder, what="test", sleep=waited.append)
        assert (caught.value.code, "no route" in caught.value.problem) == ("unreachable", True)
        assert waited == [1, 2, 4, 8]


# --- GDC --------------------------------------------------------------------------------------------------------------

READS = counts("NPM1", 3)
LABEL = {"S1": "NPM1", "S2": "PML::RARA", "S3": "CBFB::MYH11"}


def star_counts(reads):
    """A file as GDC's workflow writes it."""
    head = ["gene_id", "gene_name", "gene_type", "unstranded", "stranded_first", "stranded_second"]
    head += ["tpm_unstranded", "fpkm_unstranded", "fpkm_uq_unstranded"]
    lines = ["# gene-model: GENCODE v36", "\t".join(head)]
    lines += [f"{name}\t\t\t9\t9\t9\t\t\t" for name in ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")]
    lines += [f"{gene}.5\tX\tlncRNA\t{int(value)}\t0\t{int(value)}\t0.1\t0.1\t0.1" for gene, value in reads.items()]
    return ("\n".join(lines) + "\n").encode()


class Gdc:
    """Three files of a project, asked for page by page."""

    def __init__(self, source, monkeypatch):
        monkeypatch.setattr(gdc, "PAGE", 2)
        self.source, self.bodies, self.sample = source, [], ""
        self.contents = {f"id-{name}": star_counts(counts(label, 3)) for name, label in LABEL.items()}
        for file, data in self.contents.items():
            source.files[f"/data/{file}"] = data
        source.answers["/files"] = self.files
        source.answers["/cases"] = self.cases
        source.files["/status"] = json.dumps({"data_release": "Data Release 43.0", "status": "OK"}).encode()

    def page(self, body, hits):
        self.bodies.append(body)
        shown = hits[body["from"] : body["from"] + body["size"]]
        pagination = {"count": len(shown), "total": len(hits), "size": body["size"], "from": body["from"]}
        return json.dumps({"data": {"hits": shown, "pagination": pagination}, "warnings": {}}).encode()

    def files(self, body):
        return self.page(body, [self.hit(file, data) for file, data in self.contents.items()])

    def hit(self, file, data):
        sample = {
            "submitter_id": self.sample or f"{file}-03A",
            "sample_type": "Primary Blood Derived Cancer - Peripheral Blood",
        }
        case = {"submitter_id": f"case-{file}", "samples": [sample]}
        name = f"{file}.rna_seq.augmented_star_gene_counts.tsv"
        return {"file_id": file, "file_name": name, "file_size": len(data), "md5sum": md5(data), "cases": [case]}

    def cases(self, body):
        old = {"primary_diagnosis": "Myelodysplastic syndrome", "diagnosis_is_primary_disease": "false"}
        new = {"primary_diagnosis": "Acute myeloid leukemia, NOS", "diagnosis_is_primary_disease": "true"}
        first = {
            "submitter_id": "case-id-S1",
            "demographic": {"gender": "female"},
            "diagnoses": [old, new | {"age_at_diagnosis": 20454}],
        }
        second = {"submitter_id": "case-id-S2", "demographic": {"sex_at_birth": "male", "vital_status": "Dead"}}
        return self.page(body, [first, second, {"submitter_id": "case-id-S3", "diagnoses": []}])


@pytest.fixture
def project(source, monkeypatch):
    return Gdc(source, monkeypatch)


class TestGdc:
    def fetch(self, client, project, out, **options):
        return gdc.fetch_project(client, "TCGA-LAML", out, api=project.source.url, sleep=lambda _: None, **options)

    def test_a_project_is_fetched_and_put_together(self, client, project, tmp_path):
        said = self.fetch(client, project, tmp_path)
        assert (said["files"], said["cases"], said["genes"]) == (3, 3, len(READS))
        assert said["release"] == "Data Release 43.0"
        assert json.loads((tmp_path / "source.json").read_text()) == said
        table = pd.read_csv(tmp_path / gdc.COUNTS, sep="\t", index_col=0)
        assert list(table.columns) == ["id-S1-03A", "id-S2-03A", "id-S3-03A"]
        assert table["id-S1-03A"].to_dict() == {f"{gene}.5": int(value) for gene, value in READS.items()}
        files = pd.read_csv(tmp_path / "files.tsv", sep="\t")
        assert files["md5"].tolist() == [md5(data) for data in project.contents.values()]
        assert (tmp_path / "files" / "id-S2" / files["file_name"][1]).read_bytes() == project.contents["id-S2"]

    def test_what_is_asked_for_is_open_star_counts_of_the_project(self, client, project, tmp_path):
        self.fetch(client, project, tmp_path)
        asked = {c["content"]["field"]: c["content"]["value"] for c in project.bodies[0]["filters"]["content"]}
        assert asked == {
            "cases.project.project_id": ["TCGA-LAML"],
            "analysis.workflow_type": ["STAR - Counts"],
            "data_type": ["Gene Expression Quantification"],
            "access": ["open"],
        }
        assert [body["from"] for body in project.bodies] == [0, 2, 0, 2]

    def test_clinical_data_of_the_primary_diagnosis(self, client, project, tmp_path):
        self.fetch(client, project, tmp_path)
        cases = pd.read_csv(tmp_path / "clinical.tsv", sep="\t", index_col=0, dtype=str, keep_default_na=False)
        assert cases["sex"].tolist() == ["female", "male", ""]
        assert cases["primary_diagnosis"].tolist() == ["Acute myeloid leukemia, NOS", "", ""]
        assert (cases["age_at_diagnosis_days"].iloc[0], cases["vital_status"].iloc[1]) == ("20454", "Dead")

    def test_the_counts_are_read_as_any_other_table(self, client, project, tmp_path):
        self.fetch(client, project, tmp_path)
        said, read = read_expression(tmp_path / gdc.COUNTS, tmp_path / "together", many=True)
        assert (said["id_type"], said["scales"]) == ("ensembl_version", ["counts"] * 3)
        one = next((tmp_path / "files" / "id-S2").iterdir())
        assert np.array_equal(read_expression(one, tmp_path / "one")[1].values, read.only("id-S2-03A").values)

    def test_another_run_fetches_only_what_is_missing(self, client, project, tmp_path):
        self.fetch(client, project, tmp_path, limit=1)
        project.source.faults["/data/id-S2"] = ["cut"] * 5
        with pytest.raises(InputRejected):
            self.fetch(client, project, tmp_path)
        self.fetch(client, project, tmp_path)
        assert [len(project.source.of(f"/data/id-S{k}")) for k in (1, 2, 3)] == [1, 6, 1]
        assert project.source.of("/data/id-S2")[-1] is not None

    def test_a_sample_that_was_sequenced_twice_has_two_names(self, client, project):
        project.sample = "same"
        names = [file.sample for file in gdc.list_files(client, "TCGA-LAML", api=project.source.url)]
        assert names == ["same_id-S1", "same_id-S2", "same_id-S3"]

    def test_files_of_two_releases_are_not_mixed(self, client, project, tmp_path):
        short = dict(list(READS.items())[:-1])
        project.contents["id-S3"] = project.source.files["/data/id-S3"] = star_counts(short)
        with pytest.raises(InputRejected, match="two data releases") as caught:
            self.fetch(client, project, tmp_path)
        assert (caught.value.code, "id-S3" in caught.value.place) == ("different_genes", True)

    def test_a_file_of_something_else(self, client, project, tmp_path):
        project.contents["id-S3"] = project.source.files["/data/id-S3"] = b"gene_id\tunstranded\nENSG1\tmany\n"
        with pytest.raises(InputRejected, match="line 2") as caught:
            self.fetch(client, project, tmp_path)
        assert caught.value.code == "bad_counts"

    def test_a_project_without_open_counts(self, client, project, tmp_path):
        project.contents.clear()
        with pytest.raises(InputRejected, match="TCGA-LAML or TARGET-ALL-P2") as caught:
            self.fetch(client, project, tmp_path)
        assert caught.value.code == "unknown_project"

    @pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}", b'{"data": {"hits": [], "pagination": {"total": 5}}}'])
    def test_an_answer_of_another_shape(self, client, project, tmp_path, answer):
        project.source.answers["/files"] = lambda _: answer
        with pytest.raises(InputRejected) as caught:
            self.fetch(client, project, tmp_path)
        assert (caught.value.code, caught.value.place) == ("bad_answer", f"{project.source.url}/files")

    def test_from_the_command_line(self, project, tmp_path, capsys):
        words = ["fetch", "gdc", "TCGA-LAML", "--out", str(tmp_path / "o"), "--url", project.source.url, "--limit", "2"]
        assert cli.main(words) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["files"] == 2
        assert "GDC TCGA-LAML" in said.err  # the progress


# --- GEO --------------------------------------------------------------------------------------------------------------

MATRIX = """!Series_title\t"B-ALL in children"
!Series_geo_accession\t"GSE12345"
!Series_sample_id\t"GSM1 GSM2 "

!Sample_title\t"one"\t"two"
!Sample_geo_accession\t"GSM1"\t"GSM2"
!Sample_characteristics_ch1\t"Sex: F"\t"age: 7"
!Sample_characteristics_ch1\t"age: 5"\t"Sex: M"
!Sample_characteristics_ch1\t"subtype: DUX4"\t"relapsed"
!series_matrix_table_begin
"ID_REF"\t"GSM1"\t"GSM2"
{rows}!series_matrix_table_end
"""
FOLDER = "/GSE12nnn/GSE12345"
LISTING = (
    '<html><h1>Index</h1><a href="../">Parent</a> <a href="?C=M">x</a> <a href="https://a.b/c">y</a>{links}</html>'
)


def listing(*names):
    return LISTING.format(links="".join(f'<a href="{name}">{name}</a>' for name in names)).encode()


class TestGeo:
    @pytest.fixture(autouse=True)
    def series(self, source, tmp_path):
        rows = "".join(f'"{gene}"\t{int(value)}\t{int(value) + 1}\n' for gene, value in READS.items())
        self.names = ["GSE12345-GPL11154_series_matrix.txt.gz", "GSE12345-GPL570_series_matrix.txt.gz"]
        source.files[f"{FOLDER}/matrix/"] = listing(*self.names)
        source.files[f"{FOLDER}/suppl/"] = listing("GSE12345_counts.txt.gz", "filelist.txt")
        self.full, self.bare = (gzip.compress(MATRIX.format(rows=r).encode()) for r in (rows, ""))
        source.files[f"{FOLDER}/matrix/{self.names[0]}"] = self.full
        source.files[f"{FOLDER}/matrix/{self.names[1]}"] = self.bare
        source.files[f"{FOLDER}/suppl/GSE12345_counts.txt.gz"] = gzip.compress(b"gene\tS1\n")
        source.files[f"{FOLDER}/suppl/filelist.txt"] = b"#Archive/File\n"
        self.source, self.out = source, tmp_path / "out"

    def fetch(self, client, **options):
        return geo.fetch_series(client, "GSE12345", self.out, base=self.source.url, sleep=lambda _: None, **options)

    def test_where_a_series_lies(self):
        assert geo.series_folder("GSE227832") == f"{geo.BASE}/GSE227nnn/GSE227832"
        assert geo.series_folder("GSE1") == f"{geo.BASE}/GSEnnn/GSE1"
        for wrong in ("GSM1", "GSE", "GSE1/../x", "gse1", "GPL570"):
            with pytest.raises(InputRejected, match="like GSE227832"):
                geo.series_folder(wrong)

    def test_matrices_are_fetched_and_taken_apart(self, client):
        said = self.fetch(client)
        assert (said["title"], said["samples"]) == ("B-ALL in children", 4)
        assert said["values"] == ["values_GSE12345-GPL11154.tsv.gz"]
        assert said["supplementary"] == []
        samples = pd.read_csv(self.out / "samples.tsv", sep="\t", index_col=0, dtype=str, keep_default_na=False)
        assert samples.loc["GSM1", ["Sex", "age", "subtype", "title"]].iloc[0].tolist() == ["F", "5", "DUX4", "one"]
        assert samples.loc["GSM2", ["Sex", "age", "subtype"]].iloc[0].tolist() == ["M", "7", ""]
        assert samples["characteristics_ch1"].tolist() == ["", "relapsed", "", "relapsed"]
        values = pd.read_csv(self.out / said["values"][0], sep="\t", index_col=0)
        assert values["GSM2"].tolist() == [int(value) + 1 for value in READS.values()]

    def test_a_matrix_is_read_as_any_other_table(self, client, tmp_path):
        self.fetch(client)
        _, read = read_expression(self.out / "matrix" / self.names[0], tmp_path / "r", many=True)
        assert read.samples == ("GSM1", "GSM2")
        assert read.values[0].tolist() == [int(READS[gene]) for gene in read.genes]

    def test_supplementary_files(self, client):
        said = self.fetch(client, supplementary=True)
        assert said["supplementary"] == ["suppl/GSE12345_counts.txt.gz", "suppl/filelist.txt"]
        assert (self.out / "suppl" / "filelist.txt").read_bytes() == b"#Archive/File\n"

    def test_another_run_goes_on_and_asks_for_nothing_twice(self, client):
        first, second = (f"{FOLDER}/matrix/{name}" for name in self.names)
        self.source.faults[second] = ["cut"] * 5
        with pytest.raises(InputRejected):
            self.fetch(client)
        self.fetch(client)
        assert (len(self.source.of(first)), len(self.source.of(second))) == (1, 6)
        assert digest(self.out / "matrix" / self.names[1], "md5") == md5(self.bare)

    def test_a_series_that_is_not_there(self, client):
        with pytest.raises(InputRejected) as caught:
            geo.fetch_series(client, "GSE999", self.out, base=self.source.url)
        assert caught.value.code == "not_found"
        self.source.files[f"{FOLDER}/matrix/"] = listing()
        with pytest.raises(InputRejected, match="has no matrix"):
            self.fetch(client)

    @pytest.mark.parametrize(
        ("old", "new", "what"),
        [
            ("!series_matrix_table_end\n", "", "does not end"),
            ("!series_matrix_table_begin\n", "", "does not begin"),
            ("{rows}", '"a"\t1\n', "line 12: This is no whole series matrix: 2 cells where the header has 3"),
            ("{rows}", '"a"\t1\tx\n', "could not convert"),
            ('"one"\t"two"', '"one"', "1 samples in title"),
        ],
    )
    def test_a_matrix_that_is_not_whole(self, tmp_path, old, new, what):
        path = tmp_path / "GSE1_series_matrix.txt.gz"
        path.write_bytes(gzip.compress(MATRIX.replace(old, new).replace("{rows}", "").encode()))
        with pytest.raises(InputRejected, match=what) as caught:
            geo.read_series_matrix(path)
        assert caught.value.code == "bad_matrix"

    def test_null_values_are_missing(self, tmp_path):
        path = tmp_path / "GSE1_series_matrix.txt.gz"
        path.write_bytes(gzip.compress(MATRIX.format(rows='"a"\tnull\t\n"b"\t1.5\t2\n').encode()))
        values = geo.read_series_matrix(path).values
        assert values.loc["b"].tolist() == [1.5, 2]
        assert values.loc["a"].isna().all()

    def test_from_the_command_line(self, capsys):
        words = ["fetch", "geo", "GSE12345", "--out", str(self.out), "--url", self.source.url, "--supplementary"]
        assert cli.main(words) == 0
        assert json.loads(capsys.readouterr().out)["accession"] == "GSE12345"
        assert cli.main(["fetch", "geo", "x", "--out", str(self.out)]) == 2
        assert "no accession" in capsys.readouterr().err
