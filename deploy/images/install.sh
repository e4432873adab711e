#!/bin/sh
# Installs into /opt/kubedistill what one extra of the lock needs, and then, in a layer that changes more often,
# kubedistill itself: `install.sh dependencies EXTRA`, `install.sh project EXTRA`.
set -eu
if [ -s /run/secrets/ca ]; then
  export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca
fi
export UV_PROJECT_ENVIRONMENT=/opt/kubedistill UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
sync="/opt/uv/bin/uv sync --project /source --quiet --locked --no-dev --no-editable --no-cache --extra $2"

if [ "$1" = dependencies ]; then
  python3 -m venv /opt/uv
  /opt/uv/bin/pip install -q --no-cache-dir uv==0.13.9
  $sync --no-install-project
  # The root file system may be read-only later, so bytecode is compiled now.
  if [ "$2" != operator ]; then
    /opt/kubedistill/bin/python -m compileall -q -j 0 /opt/kubedistill/lib || true # some packages hold templates
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
