#!/bin/bash
# Prints where this machine gets Debian 12 from, or nothing if it cannot be told: then debootstrap has its default.
#
#   MIRROR=URL   is printed instead
set -euo pipefail

if [[ -n ${MIRROR:-} ]]; then
    echo "$MIRROR"
elif command -v apt-get >/dev/null; then
    # apt itself is asked, which reads every format of sources (one-line and deb822).
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Release: bookworm' 2>/dev/null | sed -n 1p
fi
