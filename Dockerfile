FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=clinic.settings.production \
    MARROW_HOME=/var/lib/marrow MARROW_STATIC=/app/static
WORKDIR /app
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/marrow --create-home marrow

COPY requirements.lock .
RUN pip install --no-cache-dir uv==0.13.9 && uv pip install --system --no-cache --require-hashes -r requirements.lock

COPY . .
RUN DJANGO_SECRET_KEY="$(head -c 64 /dev/urandom | base64 -w0)" DJANGO_ALLOWED_HOSTS=build MARROW_HOME=/tmp/build \
    DATABASE_URL=postgres://build@build/build CELERY_BROKER_URL=redis://build MARROW_FILE_KEYS=build \
    python manage.py collectstatic --noinput && rm -rf /tmp/build
USER marrow
EXPOSE 8000
CMD ["gunicorn", "clinic.wsgi", "--config", "python:clinic.gunicorn_conf", "--bind", "0.0.0.0:8000"]
