#!/bin/bash
# Installs the Debian package into a Debian 12 of its own, starts the daemon there, upgrades the package under it, removes and
# purges it. Needs root, and the network for Debian's packages.
#
#   deb-test.sh TARGET   the target directory, where `make deb` put the package; a minimal Debian is kept there too
#   MIRROR=URL           where debootstrap takes Debian from, instead of where apt takes this machine's from
#   APT_CONF=FILE        apt settings inside: a proxy, a clock that is off
#
# It runs in namespaces of its own, on a file system in memory: however it ends, nothing stays mounted, running or on disk.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath "${1:?which target directory?}")
if [[ ${PLIMSOLL_DEB_TEST:-} != inside ]]; then
    export PLIMSOLL_DEB_TEST=inside
    # unshare lets no other signal end it; with it go all processes inside.
    exec timeout --foreground --signal=KILL 900 unshare --mount --pid --fork --kill-child "$PWD/pktgen-tests/deb-test.sh" "$target"
fi
# The first process of a namespace gets only signals that it handles.
trap 'exit 130' INT TERM

# The last that was built, should there be others of former versions.
deb=$(ls -t "$target"/debian/plimsoll_*.deb | sed -n 1p)
version=$(dpkg-deb -f "$deb" Version)
work=$target/deb-test
base=$work/bookworm.tar
root=$work/root
mkdir -p "$root"
mount -t tmpfs -o mode=755 plimsoll-deb-test "$root"

step() {
    printf '%4d s: %s\n' "$SECONDS" "$*"
}

fail() {
    echo "deb-test: $*" >&2
    exit 1
}

# A command inside has nothing of this machine's environment.
inside=(chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive)

in_debian() {
    "${inside[@]}" "$@"
}

# Runs apt-get inside, which has nobody to ask; what it says is shown only if it fails.
apt() {
    in_debian apt-get -qq -o Dpkg::Use-Pty=0 "$@" >"$root/tmp/apt.log" 2>&1 </dev/null || {
        cat "$root/tmp/apt.log" >&2
        fail "apt-get $*"
    }
}

# What the maintainer scripts told systemd since this was asked last.
told_systemd() {
    cat "$root/tmp/systemctl.log" 2>/dev/null || true
    rm -f "$root/tmp/systemctl.log"
}

answers() {
    in_debian plimsoll list >/dev/null 2>&1
}

step "a minimal Debian 12"
if [[ ! -e $base ]]; then
    mirror=$(pktgen-tests/debian-mirror.sh)
    debootstrap --variant=minbase bookworm "$root" ${mirror:+"$mirror"} >"$work/debootstrap.log" || {
        tail -n 20 "$work/debootstrap.log" >&2
        fail "debootstrap"
    }
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    umount -R "$root/proc" "$root/sys" 2>/dev/null || true
    tar -C "$root" --one-file-system -cf "$base.new" .
    mv "$base.new" "$base"
else
    tar -C "$root" -xf "$base"
fi
mount -t proc proc "$root/proc"
# DPDK counts the CPUs there.
mount -t sysfs -o ro sysfs "$root/sys"
if [[ -n ${APT_CONF:-} ]]; then
    cp "$APT_CONF" "$root/etc/apt/apt.conf.d/99test"
fi

step "installing $(basename "$deb")"
cp "$deb" "$root/tmp/plimsoll.deb"
apt update
apt install --no-install-recommends /tmp/plimsoll.deb librte-net-null23
[[ $(in_debian plimsoll --version) == "plimsoll $version" ]] || fail "plimsoll has not the package's version"
[[ $(in_debian plimsolld --version) == "plimsolld $version" ]] || fail "plimsolld has not the package's version"
in_debian getent passwd plimsoll >/dev/null || fail "there is no user plimsoll"
in_debian getent group plimsoll >/dev/null || fail "there is no group plimsoll"
[[ $(in_debian systemctl is-enabled plimsolld.service) == disabled ]] || fail "the service is enabled"
in_debian systemd-analyze verify plimsolld.service || fail "systemd does not like the unit"
for package in $(dpkg-deb -f "$deb" Recommends Suggests | sed 's/^[A-Z][a-z]*: //; s/,/ /g'); do
    in_debian apt-cache show "$package" >/dev/null || fail "Debian has no $package, which is recommended"
done

step "its files"
doc=/usr/share/doc/plimsoll
for page in man1/plimsoll.1 man1/plimsoll-check.1 man1/plimsoll-import-keepalived.1 man8/plimsolld.8; do
    in_debian gzip -dc "/usr/share/man/$page.gz" | grep -q '^\.TH ' || fail "$page is no man page"
done
in_debian plimsoll schema | cmp - "$root/usr/share/plimsoll/schema.json"
in_debian plimsoll completion bash | cmp - "$root/usr/share/bash-completion/completions/plimsoll"
in_debian plimsoll completion zsh | cmp - "$root/usr/share/zsh/vendor-completions/_plimsoll"
in_debian plimsoll completion fish | cmp - "$root/usr/share/fish/vendor_completions.d/plimsoll.fish"
for sample in reference dr-one-arm nat-two-arm tunnel dual-stack; do
    in_debian plimsoll check "$doc/examples/$sample.yaml" >/dev/null || fail "$sample.yaml"
done
in_debian perl -we 'our %nrconf; do "/etc/needrestart/conf.d/plimsoll.conf" or die $@ || $!;
    my @rules = grep { "plimsolld.service" =~ $_ } keys %{$nrconf{override_rc}};
    die "restarted by itself" unless @rules == 1 && $nrconf{override_rc}{$rules[0]} == 0;' || fail "needrestart.conf"
# As it is delivered, the configuration is nobody's: it must not take a port.
status=0
in_debian timeout 20 plimsolld --config /etc/plimsoll/plimsoll.yaml 2>/dev/null || status=$?
[[ $status -eq 3 ]] || fail "plimsolld ended with $status for the configuration that nobody has written, and not with 3"

step "the daemon on a port that leads nowhere"
cpu=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
cat >"$root/etc/plimsoll/plimsoll.yaml" <<END
version: 1
dataplane:
  cpus: [$cpu]
  idle: sleep
  sessions: 1024
  memory: { hugepages: off, size: 64MiB }
  ports: [{ name: wan, device: "net_null0,no-rx=1", addresses: [192.0.2.2/24] }]
control: { http: off }
services:
  - name: web
    vip: 192.0.2.10:80
    scheduler: rr
    forward: dr
    reals: [{ address: 192.0.2.21 }]
END
in_debian plimsoll check /etc/plimsoll/plimsoll.yaml >/dev/null || fail "its configuration is not valid"
# What the unit does: its folders, its user; a port on net_null needs no capability.
in_debian install -d -m 0750 -o plimsoll -g plimsoll /run/plimsoll /var/lib/plimsoll
"${inside[@]}" setpriv --reuid=plimsoll --regid=plimsoll --clear-groups --no-new-privs --bounding-set=-all \
    plimsolld --config /etc/plimsoll/plimsoll.yaml 2>"$root/tmp/plimsolld.log" &
daemon=$!
deadline=$((SECONDS + 60))
until answers; do
    if ! kill -0 "$daemon" 2>/dev/null || [[ $SECONDS -gt $deadline ]]; then
        cat "$root/tmp/plimsolld.log" >&2
        fail "the daemon does not answer"
    fi
    sleep 0.1
done
in_debian plimsoll list | grep -q 192.0.2.10:80 || fail "the service is not listed"

step "an upgrade under it"
# From here on what is told to systemd is written down; there is none that could obey.
mkdir -p "$root/run/systemd/system"
mv "$root/bin/systemctl" "$root/bin/systemctl.real"
cat >"$root/bin/systemctl" <<'END'
#!/bin/sh
echo "$*" >>/tmp/systemctl.log
case "$*" in
*able*) exec systemctl.real "$@" ;;
esac
END
chmod 755 "$root/bin/systemctl"
in_debian systemctl --quiet enable plimsolld.service
told_systemd >/dev/null
in_debian dpkg-deb -R /tmp/plimsoll.deb /tmp/newer
sed -i 's/^Version: .*/&+newer/' "$root/tmp/newer/DEBIAN/control"
in_debian dpkg-deb --root-owner-group -Znone -b /tmp/newer /tmp/newer.deb >/dev/null
# A question about a configuration that was changed would end it.
apt install --no-install-recommends /tmp/newer.deb
[[ $(in_debian dpkg-query -W -f '${Version}' plimsoll) == "$version+newer" ]] || fail "it was not upgraded"
told=$(told_systemd)
[[ $told == *"--system daemon-reload"* ]] || fail "systemd does not know of the upgrade"
! grep -Ev '^(--system daemon-reload|--quiet is-active plimsolld.service)$' <<<"$told" ||
    fail "an upgrade must tell systemd nothing but that units may have changed"
grep -q 192.0.2.10:80 "$root/etc/plimsoll/plimsoll.yaml" || fail "the configuration was replaced"
[[ $(in_debian systemctl is-enabled plimsolld.service) == enabled ]] || fail "the service is not enabled any more"
kill -0 "$daemon" || fail "the daemon has ended"
answers || fail "the daemon does not answer any more"

step "SIGTERM"
kill -TERM "$daemon"
status=0
wait "$daemon" || status=$?
[[ $status -eq 0 ]] || fail "the daemon ended with $status"
[[ ! -e $root/run/plimsoll/plimsoll.sock ]] || fail "the socket is still there"

step "removal"
told_systemd >/dev/null
apt remove plimsoll
told_systemd | grep -q '^stop plimsolld.service$' || fail "the service was not stopped"
[[ ! -e $root/usr/sbin/plimsolld && ! -e $root/lib/systemd/system/plimsolld.service ]] || fail "there are programs left"
[[ ! -L $root/etc/systemd/system/multi-user.target.wants/plimsolld.service ]] || fail "the service is still enabled"
[[ -e $root/etc/plimsoll/plimsoll.yaml && -d $root/var/lib/plimsoll ]] || fail "only a purge may remove configuration and state"

step "purge"
apt purge plimsoll
# Not the user: no other must get its number. The folder in /run is the unit's, which systemd removes.
rmdir "$root/run/plimsoll"
left=$(find "$root" -xdev -name '*plimsoll*' -not -path "$root/tmp/*")
[[ -z $left ]] || fail "there is left: $left"
step "passed"
