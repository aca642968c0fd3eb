"""The Celery application, shared by the web process (which only sends) and the workers (which only run).

Without a broker URL, messages are files in a private folder (kombu's filesystem transport): nothing to install. The
transport is made safe for a reader that polls 20 times a second: a message appears under its name whole or not at all.
"""

import os
import uuid
from pathlib import Path
from time import monotonic_ns

from celery import Celery
from django.conf import settings
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.encoding import str_to_bytes
from kombu.utils.json import dumps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings.development")


class FolderChannel(filesystem.Channel):
    def _put(self, queue, payload, **_):
        name = f"{monotonic_ns():020d}_{uuid.uuid4()}.{queue}.msg"
        part = Path(self.data_folder_out) / f".{name}.part"
        part.write_bytes(str_to_bytes(dumps(payload)))
        part.rename(Path(self.data_folder_out) / name)


class FolderTransport(filesystem.Transport):
    Channel = FolderChannel


TRANSPORT_ALIASES["filesystem"] = "clinic.celery:FolderTransport"


def broker_options():
    """Transport options; for the folder broker also the folders themselves, which must exist."""
    if not settings.BROKER_URL.startswith("filesystem"):
        return {"visibility_timeout": 60}
    folders = {name: settings.BROKER_FOLDER / name for name in ("messages", "control")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    messages = str(folders["messages"])
    return {
        "data_folder_in": messages,
        "data_folder_out": messages,
        "control_folder": str(folders["control"]),
        "polling_interval": 0.05,
    }


app = Celery("marrow")
app.conf.update(
    broker_url=settings.BROKER_URL,
    broker_transport_options=broker_options(),
    broker_connection_retry_on_startup=True,
    task_default_queue="marrow",
    task_ignore_result=True,
    task_acks_late=False,  # a lost message is found again by its row, never by the broker
    task_serializer="json",
    result_serializer="json",
    event_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    worker_proc_alive_timeout=120,
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    timezone="UTC",
)
app.set_default()
