import shutil

import pytest
from django.core.management import call_command

from clinic.audit.models import Action, AuditEvent
from clinic.errors import Conflict, Denied
from clinic.registry.models import ModelBundle
from clinic.registry.services import activate, retire, sync_bundles
from ml.bundle import seal_bundle

pytestmark = pytest.mark.django_db


@pytest.fixture
def make_bundle(settings, tmp_path):
    settings.BUNDLE_ROOTS = [tmp_path / "bundles"]

    def make(name, version, weights="w"):
        folder = tmp_path / "bundles" / name / version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.json").write_text(f'"{weights}"')
        return seal_bundle(folder, {"name": name, "version": version, "labels": {}})

    return make


def active():
    return {bundle.reference for bundle in ModelBundle.objects.filter(status="active")}


def test_every_bundle_is_known_and_the_newest_is_active(make_bundle):
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        make_bundle("labs", version)
    make_bundle("fusion", "1.0.0")
    found, broken = sync_bundles()
    assert (len(found), broken) == (4, [])
    assert active() == {"labs@1.10.0", "fusion@1.0.0"}


def test_again_changes_nothing(make_bundle):
    make_bundle("labs", "1.0.0")
    sync_bundles()
    events = AuditEvent.objects.count()
    sync_bundles()
    assert (AuditEvent.objects.count(), ModelBundle.objects.count()) == (events, 1)


def test_a_newer_version_waits_for_somebody_to_activate_it(make_bundle, admin_user, clinician):
    make_bundle("labs", "1.0.0")
    sync_bundles()
    make_bundle("labs", "2.0.0")
    sync_bundles()
    assert active() == {"labs@1.0.0"}
    newer = ModelBundle.objects.get(version="2.0.0")
    with pytest.raises(Denied):
        activate(bundle=newer, by=clinician)
    activate(bundle=newer, by=admin_user)
    assert active() == {"labs@2.0.0"}
    event = AuditEvent.objects.filter(action=Action.BUNDLE_ACTIVATE).latest("seq")
    assert event.actor_id == str(admin_user.pk)


@pytest.mark.requirement("M-19")
def test_what_was_replaced_on_disk_stands_down_for_what_is_there(make_bundle):
    old = make_bundle("labs", "1.0.0", weights="old")
    sync_bundles()
    new = make_bundle("labs", "1.0.0", weights="new")
    sync_bundles()
    assert ModelBundle.objects.get(status="active").sha256 == new.sha256
    with pytest.raises(Conflict):
        activate(bundle=ModelBundle.objects.get(sha256=old.sha256))


def test_what_was_moved_is_found_again(make_bundle, settings, tmp_path):
    make_bundle("labs", "1.0.0")
    sync_bundles()
    shutil.move(tmp_path / "bundles", tmp_path / "elsewhere")
    settings.BUNDLE_ROOTS = [tmp_path / "elsewhere"]
    sync_bundles()
    assert active() == {"labs@1.0.0"}
    assert "elsewhere" in ModelBundle.objects.get().path


def test_what_was_retired_stays_retired(make_bundle, admin_user):
    make_bundle("labs", "1.0.0")
    sync_bundles()
    retire(bundle=ModelBundle.objects.get(), reason="worse than before", by=admin_user)
    sync_bundles()
    assert active() == set()


def test_a_broken_bundle_is_named_and_the_others_are_taken(make_bundle, capsys):
    broken = make_bundle("labs", "1.0.0")
    (broken.path / "weights.json").write_text('"changed"')
    make_bundle("fusion", "1.0.0")
    with pytest.raises(SystemExit) as ended:
        call_command("sync_bundles")
    assert ended.value.code == 1
    assert "weights.json" in capsys.readouterr().err
    assert active() == {"fusion@1.0.0"}
