# The image for runs in containers: docker build -t registry.example.com/convrec:0.2.0 .
#
# The project is installed in editable mode, because profiles, catalogs and flows are read from its
# folder. The torch build on PyPI includes CUDA. EXTRAS are extras of pyproject.toml (lake: Postgres
# and S3).
FROM python:3.11-slim-bookworm

ARG EXTRAS=lake

ENV PYTHONUNBUFFERED=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1 \
    OMP_WAIT_POLICY=PASSIVE \
    CONVREC_HOME=/warehouse

RUN useradd --create-home --uid 10001 convrec \
    && install --directory --owner=convrec /opt/convrec /warehouse

WORKDIR /opt/convrec
COPY pyproject.toml constraints.txt README.md LICENSE prefect.toml prefect.yaml automations.yaml ./
COPY convrec convrec
COPY tasks tasks
COPY flows flows
COPY profiles profiles
COPY catalog catalog

RUN python -m pip install --no-cache-dir -c constraints.txt -e ".[${EXTRAS}]"

USER 10001
CMD ["convrec", "--help"]
