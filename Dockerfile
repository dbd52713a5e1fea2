# One image for every part of Tidemark; the command says which: python -m ingest, query, sql migrate, sql maintain.

FROM python:3.11.14-slim-bookworm AS build
COPY requirements.lock /tmp/
RUN python -m venv --without-pip /opt/tidemark/venv \
    && python -m pip --python /opt/tidemark/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: --requirement /tmp/requirements.lock

FROM python:3.11.14-slim-bookworm
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/tidemark --create-home tidemark
COPY --from=build /opt/tidemark/venv /opt/tidemark/venv
COPY service /opt/tidemark/service
COPY sql /opt/tidemark/sql
COPY ingest /opt/tidemark/ingest
COPY query /opt/tidemark/query
WORKDIR /opt/tidemark
ENV PATH=/opt/tidemark/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TIDEMARK_HOME=/var/lib/tidemark \
    TIDEMARK_PROBE=http://127.0.0.1:8086/healthz
USER 10001:10001
# Whatever writes here needs a volume: the rest of the file system may be read-only.
VOLUME /var/lib/tidemark
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(os.environ['TIDEMARK_PROBE'], timeout=4)"]
CMD ["python", "-m", "ingest"]
