#!/bin/sh
# Makes ./configure from configure.ac.  Needs autoconf and automake.
set -e
cd "$(dirname "$0")"
autoreconf --install --force --warnings=all
echo "Now type ./configure && make"
