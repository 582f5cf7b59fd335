#!/bin/bash
# Builds the container image: with Docker if it runs, else with buildah on bases made by debootstrap, which needs
# root (sudo is used), no registry and no engine.
#
#   IMAGE=name:tag       what to call it (plimsoll:latest)
#   MIRROR=URL           where debootstrap takes Debian from, instead of where apt takes this machine's from
#   APT_CONF=FILE        apt settings for the time of the build: a proxy, a clock that is off
#   STORAGE=DIRECTORY    where buildah keeps images (below the target directory)
set -euo pipefail
cd "$(dirname "$0")/.."

image=${IMAGE:-plimsoll:latest}
if docker info >/dev/null 2>&1; then
    exec docker build -t "$image" .
fi

if [[ $(id -u) -ne 0 ]]; then
    if command -v sudo >/dev/null; then
        exec sudo -E env PATH="$PATH" pktgen-tests/docker-build.sh
    fi
    echo "debootstrap needs root" >&2
    exit 1
fi
echo "Docker does not run here: building with buildah and debootstrap"
pktgen-tests/install-packages.sh buildah debootstrap
for program in buildah debootstrap; do
    if ! command -v "$program" >/dev/null; then
        echo "$program is missing, and without Docker the image cannot be built" >&2
        exit 1
    fi
done

mirror=$(pktgen-tests/debian-mirror.sh)
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
storage=${STORAGE:-$(realpath "$target")/containers}
mkdir -p "$storage"
buildah=(buildah --root "$storage/root" --runroot "$storage/run" --storage-driver vfs)
toolchain=$(rustc --print sysroot)

# Makes the image $1 of the container $2.
commit() {
    "${buildah[@]}" commit -q "$2" "$1" >/dev/null
    "${buildah[@]}" rm "$2" >/dev/null
}

if ! "${buildah[@]}" inspect --type image localhost/plimsoll-base >/dev/null 2>&1; then
    echo "debootstrap: a minimal Debian 12 from ${mirror:-its default mirror}"
    base=$(mktemp -d)
    trap 'rm -rf "$base"' EXIT
    debootstrap --variant=minbase bookworm "$base" ${mirror:+"$mirror"} >"$storage/debootstrap.log"
    rm -rf "$base"/var/cache/apt/archives/*.deb "$base"/var/lib/apt/lists/*
    container=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add -q "$container" "$base" / >/dev/null
    "${buildah[@]}" config --cmd bash "$container"
    commit localhost/plimsoll-base "$container"
    rm -rf "$base"
fi

# The builder is the same with Rust on its path; Rust itself is this machine's, mounted while it builds.
container=$("${buildah[@]}" from localhost/plimsoll-base)
"${buildah[@]}" config --env CARGO_HOME=/usr/local/cargo \
    --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
commit localhost/plimsoll-builder "$container"

# The sources of the crates come from this machine, so that the build inside needs no registry either.
cargo fetch --locked
echo "building $image"
"${buildah[@]}" bud --isolation chroot --layers \
    --build-arg BUILDER=localhost/plimsoll-builder \
    --build-arg RUNTIME=localhost/plimsoll-base \
    --build-arg CARGO_FLAGS="--locked --offline" \
    --volume "$toolchain:/usr/local/rust:ro" \
    --volume "${CARGO_HOME:-$HOME/.cargo}/registry:/usr/local/cargo/registry" \
    ${APT_CONF:+--volume "$(realpath "$APT_CONF"):/etc/apt/apt.conf.d/99build:ro"} \
    -t "$image" .
"${buildah[@]}" images "$image"
echo "It is in $storage; to take it elsewhere:"
echo "  ${buildah[*]} push $image docker-archive:plimsoll.tar:$image"
