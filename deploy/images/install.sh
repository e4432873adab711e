#!/bin/sh
# Installs into /opt/kubedistill what one extra of the lock needs, and then, in a layer that changes more often,
# kubedistill itself: `install.sh dependencies EXTRA`, `install.sh project EXTRA`.
# TORCH_INDEX names an index with CPU builds of torch, which replaces the lock's build and all that this one brings.
set -eu
if [ -s /run/secrets/ca ]; then
  export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca
fi
export UV_PROJECT_ENVIRONMENT=/opt/kubedistill UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_CACHE=1
sync="/opt/uv/bin/uv sync --project /source --quiet --locked --inexact --no-dev --no-editable --extra $2"
if [ "${TORCH_INDEX:-}" ]; then
  sync="$sync $(sed -nE 's/^name = "(torch|triton|nvidia-.*|cuda-.*)"$/--no-install-package \1/p' /source/uv.lock)"
fi

if [ "$1" = dependencies ]; then
  python3 -m venv /opt/uv
  /opt/uv/bin/pip install -q --no-cache-dir uv==0.13.9
  # The root file system may be read-only later, so bytecode is compiled now; the operator's image keeps less of it.
  [ "$2" = operator ] || export UV_COMPILE_BYTECODE=1
  $sync --no-install-project
  if [ "${TORCH_INDEX:-}" ]; then
    version=$(sed -n '/^name = "torch"$/{n;s/^version = "\(.*\)"$/\1/p}' /source/uv.lock)
    /opt/uv/bin/uv pip install --python /opt/kubedistill --quiet --no-deps --default-index "$TORCH_INDEX" "torch==$version"
  fi
  if [ "$2" = cpu ]; then
    (cd /opt/kubedistill/lib/python3*/site-packages && sed 's/#.*//' /source/left-out.txt | xargs sh -c 'rm -rf $*' sh)
  fi
else
  $sync
  if [ "$2" = operator ]; then
    rm -r /opt/kubedistill/lib/python3*/site-packages/kubedistill_runtime
    # Only what it imports: the Kubernetes client has thousands of modules beside.
    /opt/kubedistill/bin/python -c 'import kubedistill_operator.__main__, kubedistill_operator.loop.replica'
  fi
  /opt/kubedistill/bin/python -m compileall -q /opt/kubedistill/lib/python3*/site-packages/kubedistill*
fi
