FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MARROW_HOME=/var/lib/marrow DJANGO_SETTINGS_MODULE=clinic.settings.production
WORKDIR /app
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/marrow --create-home marrow

COPY requirements.lock .
RUN pip install --no-cache-dir uv==0.13.9 && uv pip install --system --no-cache --require-hashes -r requirements.lock

COPY . .
RUN DJANGO_SETTINGS_MODULE=clinic.settings.development MARROW_HOME=/tmp/build STATIC_ROOT=/app/static \
    python manage.py collectstatic --noinput && chown -R marrow /app/static && rm -rf /tmp/build
USER marrow
EXPOSE 8000
CMD ["gunicorn", "clinic.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "4", "--access-logfile", "-"]
