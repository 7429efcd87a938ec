#!/bin/sh
# The baseline's Python without site-packages: their .pth files can cost more than the whole script.
exec "$BASELINE_PYTHON" -S "$@"
