#!/bin/sh
# The stories beside this script come out as they say.
tests/scenario/scenario "${srcdir:-.}"/tests/scenario/*.story
