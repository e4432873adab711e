# Three images from one lock file; `make images` builds them with docker, podman or buildah.
#
#   operator      the control plane: no torch, no ray, no vllm
#   runtime-cpu   the data plane on CPUs; also `kubedistill run` on one machine
#   runtime       the data plane on NVIDIA GPUs
#
# A base image is a Debian or Ubuntu whose `python3` is 3.11 or 3.12. Pass the certificates of a private authority or of
# a proxy as the build secret `ca`, which is not stored in any layer.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
ARG CUDA_BASE=docker.io/nvidia/cuda:13.0.3-base-ubuntu24.04

FROM scratch AS lock
COPY pyproject.toml uv.lock deploy/images/install.sh deploy/images/left-out.txt /

FROM scratch AS source
COPY README.md LICENSE /
COPY api /api
COPY operator /operator
COPY runtime /runtime

FROM ${BASE} AS operator-environment
COPY --from=lock / /source
RUN --mount=type=secret,id=ca sh /source/install.sh dependencies operator
COPY --from=source / /source
RUN --mount=type=secret,id=ca sh /source/install.sh project operator

FROM ${BASE} AS operator
COPY --from=operator-environment /opt/kubedistill /opt/kubedistill
ENV PATH=/opt/kubedistill/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["kubedistill-operator"]
CMD ["--help"]

FROM ${BASE} AS runtime-cpu-base
# KubeRay before 1.7 probes Ray's pods with wget.
RUN apt-get update -q && apt-get install -q -y --no-install-recommends wget procps libgomp1 libnuma1 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb

FROM runtime-cpu-base AS runtime-cpu-environment
# An index with CPU builds of torch, such as https://download.pytorch.org/whl/cpu; PyPI has only the build for CUDA.
ARG TORCH_INDEX=
COPY --from=lock / /source
RUN --mount=type=secret,id=ca sh /source/install.sh dependencies cpu
COPY --from=source / /source
RUN --mount=type=secret,id=ca sh /source/install.sh project cpu

FROM runtime-cpu-base AS runtime-cpu
COPY --from=runtime-cpu-environment /opt/kubedistill /opt/kubedistill
# A login shell, in which some versions of KubeRay start Ray, resets PATH.
RUN echo 'PATH=/opt/kubedistill/bin:$PATH' > /etc/profile.d/kubedistill.sh
# The image has no compiler.
ENV PATH=/opt/kubedistill/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp USER=kubedistill PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 TORCH_COMPILE_DISABLE=1
USER 65532:65532
WORKDIR /tmp
CMD ["kubedistill", "--help"]

FROM ${CUDA_BASE} AS runtime-base
# Triton compiles its kernels at run time, with a C compiler and Python's headers.
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    python3 python3-venv python3-dev gcc libc6-dev wget procps libgomp1 libnuma1 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb

FROM runtime-base AS runtime-environment
COPY --from=lock / /source
RUN --mount=type=secret,id=ca sh /source/install.sh dependencies gpu
COPY --from=source / /source
RUN --mount=type=secret,id=ca sh /source/install.sh project gpu

FROM runtime-base AS runtime
COPY --from=runtime-environment /opt/kubedistill /opt/kubedistill
RUN echo 'PATH=/opt/kubedistill/bin:/usr/local/cuda/bin:$PATH' > /etc/profile.d/kubedistill.sh
ENV PATH=/opt/kubedistill/bin:/usr/local/cuda/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp USER=kubedistill \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 65532:65532
WORKDIR /tmp
CMD ["kubedistill", "--help"]
