#!/bin/sh
# Compares ringcached with memcached and others; see compare.sh --help and bench/README.md.
exec python3 "$(dirname "$0")/compare.py" "$@"
