# One image for every part of Tidemark; the command says which: python -m ingest, query, sql migrate, sql maintain.

FROM python:3.11.14-slim-bookworm AS build
COPY requirements.lock /tmp/
RUN python -m venv --without-pip /opt/tidemark/venv \
    && python -m pip --python /opt/tidemark/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: --requirement /tmp/requirements.lock \
    && find /opt/tidemark/venv -type d -name tests -prune -exec rm -r {} +

FROM python:3.11.14-slim-bookworm
# A new volume is given to whom this folder belongs. It is no VOLUME: each container would leave a nameless one behind.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/tidemark tidemark \
    && install --directory --owner=tidemark --group=tidemark /var/lib/tidemark
COPY --from=build /opt/tidemark/venv /opt/tidemark/venv
COPY service /opt/tidemark/service
COPY sql /opt/tidemark/sql
COPY ingest /opt/tidemark/ingest
COPY query /opt/tidemark/query
WORKDIR /opt/tidemark
ENV PATH=/opt/tidemark/venv/bin:$PATH
# The second compiles what the parts and the check below import, the standard library's too, which comes without: where
# nothing can be written, every start and every check would do so again.
RUN chmod -R a+rX service sql ingest query \
    && python -c "import urllib.request, ingest.__main__, ingest.agent.__main__, query.__main__, sql.__main__"
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TIDEMARK_HOME=/var/lib/tidemark \
    TIDEMARK_PROBE=http://127.0.0.1:8086/healthz
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=1m \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(os.environ['TIDEMARK_PROBE'], timeout=4)"]
CMD ["python", "-m", "ingest"]
