#!/bin/bash
# Installs those of the named Debian packages that are missing, and says which.
set -euo pipefail

installed() {
    # Any nginx will do; another flavour than the named one must not be replaced.
    if [[ $1 == nginx-light ]] && command -v nginx /usr/sbin/nginx >/dev/null; then
        return 0
    fi
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

if ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian: please install what corresponds to $*" >&2
    exit 0
fi

missing=()
for package in "$@"; do
    installed "$package" || missing+=("$package")
done
if [[ ${#missing[@]} -eq 0 ]]; then
    exit 0
fi

echo "Missing packages: ${missing[*]}"
if [[ $(id -u) -ne 0 ]]; then
    echo "Installing them needs root: apt-get install ${missing[*]}" >&2
    exit 1
fi

# nginx is started in namespaces only: the package's own service must not take port 80 of this machine.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
echo "apt-get update"
apt-get update -qq </dev/null
echo "apt-get install ${missing[*]}"
apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
