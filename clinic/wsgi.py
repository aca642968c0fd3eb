import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings.development")
application = get_wsgi_application()
get_resolver().url_patterns  # noqa: B018 (every page's code before gunicorn forks: nobody's first page waits for it)
