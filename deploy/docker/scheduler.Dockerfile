# pando-scheduler: who trains where. No torch.
# Built from the repository's root by `make images`.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
# What fsspec needs for an object store, e.g. s3fs; a directory needs nothing.
ARG STORAGE_PACKAGES
RUN python -m venv /opt/pando
WORKDIR /src
COPY shared shared
COPY services/scheduler services/scheduler
RUN /opt/pando/bin/pip install --no-cache-dir "./shared[otel]" ./services/scheduler $STORAGE_PACKAGES

FROM ${PYTHON_IMAGE}
# A volume is mounted on the home; a new one takes over its owner.
RUN useradd --uid 10001 --home-dir /var/lib/pando pando \
    && install --directory --owner=pando /var/lib/pando
COPY --from=build /opt/pando /opt/pando
ENV PATH=/opt/pando/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/var/lib/pando/huggingface \
    PANDO_STORAGE_URL=file:///var/lib/pando/storage \
    PANDO_HOST=0.0.0.0 \
    PANDO_METRICS_PORT=9100
USER 10001
WORKDIR /var/lib/pando
EXPOSE 9100
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9100/metrics', timeout=4)"]
CMD ["pando-scheduler"]
