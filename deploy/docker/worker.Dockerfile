# pando-worker: trains adapters; with the command `pando-worker --prepare` it prepares data.
# Built from the repository's root by `make images`.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
# What fsspec needs for an object store, e.g. s3fs; a directory needs nothing.
ARG STORAGE_PACKAGES
# Tools that curves are written to, whose clients are installed: tensorboard,mlflow,wandb.
ARG PANDO_INTEGRATIONS
# pinned: what constraints.txt says; cuda: the newest CUDA build, whatever it says.
ARG TORCH=pinned
RUN python -m venv /opt/pando
WORKDIR /src
COPY constraints.txt ./
RUN if [ "$TORCH" = cuda ]; then : > constraints.txt; fi
# A layer of its own: it is the large one, and changes least.
RUN /opt/pando/bin/pip install --no-cache-dir -c constraints.txt torch transformers
COPY shared shared
COPY kernels kernels
COPY services/worker services/worker
RUN if [ "$TORCH" = cuda ]; then extra="[quantized]"; fi; \
    /opt/pando/bin/pip install --no-cache-dir -c constraints.txt \
    "./shared[otel]" "./kernels$extra" \
    "./services/worker${PANDO_INTEGRATIONS:+[$PANDO_INTEGRATIONS]}" $STORAGE_PACKAGES

FROM ${PYTHON_IMAGE}
ARG TORCH=pinned
# Triton builds its CUDA binding with a C compiler when the first kernel is launched.
RUN if [ "$TORCH" = cuda ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends gcc libc6-dev \
        && rm -rf /var/lib/apt/lists/*; \
    fi
# A volume is mounted on the home; a new one takes over its owner.
RUN useradd --uid 10001 --home-dir /var/lib/pando pando \
    && install --directory --owner=pando /var/lib/pando /var/cache/pando
COPY --from=build /opt/pando /opt/pando
# Threads that wait must not spin: beside anyone else on the cores, a step takes many times as long.
# Microbatches of ever other sizes would cut a GPU's memory into useless pieces.
ENV PATH=/opt/pando/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=passive \
    PYTORCH_ALLOC_CONF=expandable_segments:True \
    HF_HOME=/var/lib/pando/huggingface \
    PANDO_STORAGE_URL=file:///var/lib/pando/storage \
    PANDO_CACHE_DIR=/var/cache/pando \
    TRITON_CACHE_DIR=/var/cache/pando/triton \
    PANDO_HOST=0.0.0.0 \
    PANDO_METRICS_PORT=9100
USER 10001
WORKDIR /var/lib/pando
EXPOSE 9100
# Celery's parent process answers, also while its child trains.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 \
    CMD celery --broker "$PANDO_REDIS_URL" inspect ping --timeout 5 | grep -q "@$(hostname):"
CMD ["pando-worker"]
