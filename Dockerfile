# syntax=docker/dockerfile:1
# docker build -t mmsa-suparc --build-arg TORCH_INDEX=ADDRESS .
#     ADDRESS is that of PyTorch's builds without CUDA, from the selector on its site (Pip, CPU).
# docker build -t mmsa-suparc:cuda --build-arg BASE=nvidia/cuda:12.8.1-runtime-ubuntu22.04 .
#     Without TORCH_INDEX PyTorch's default build comes, with CUDA; so it does on the default base.
# BASE is any Debian or Ubuntu whose packages have Python 3.11.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG TORCH_INDEX=""

# Python 3.11 for both environments, ffmpeg for videos, the libraries of OpenCV and mediapipe.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates ffmpeg libegl1 libgl1 libgles2 libglib2.0-0 python3.11 python3.11-venv \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 mmsa \
    && mkdir /opt/mmsa /data \
    && chown mmsa:mmsa /opt/mmsa /data

USER 1000:1000
WORKDIR /opt/mmsa
COPY --chown=1000:1000 . source
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# The toolkit and SupArc.
RUN python3.11 -m venv venv \
    && venv/bin/python -m pip install -c source/constraints.txt \
        ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch \
    && venv/bin/python -m pip install -c source/constraints.txt "./source[app,export,tune]"

# MMSA-FET, whose libraries are older.
RUN python3.11 -m venv venv-fet \
    && venv-fet/bin/python -m pip install -c source/constraints-fet.txt \
        ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch \
    && venv-fet/bin/python -m pip install -c source/constraints-fet.txt "./source[fet]"

ENV PATH=/opt/mmsa/venv/bin:$PATH \
    MMSA_FET_PYTHON=/opt/mmsa/venv-fet/bin/python \
    MMSA_DATA_ROOT=/data
WORKDIR /home/mmsa
CMD ["mmsa", "--help"]
