#!/bin/bash
# with-hugepages.sh MIB COMMAND...: runs a command with so many MiB of hugepages free, if root can get them, and gives
# back afterwards what it took.
set -euo pipefail
wanted=$(($1 / 2))
shift

pages=/sys/kernel/mm/hugepages/hugepages-2048kB
if [[ $(id -u) -eq 0 && -w $pages/nr_hugepages ]]; then
    before=$(<"$pages/nr_hugepages")
    free=$(<"$pages/free_hugepages")
    if ((free < wanted)); then
        trap 'echo "$before" >"$pages/nr_hugepages"' EXIT
        # Memory in pieces gives fewer than asked for; the command sees to that.
        echo $((before + wanted - free)) >"$pages/nr_hugepages"
    fi
fi
"$@"
