# plimsolld and plimsoll on Debian 12. The bases can be replaced by others with the same content, e.g. where no
# registry can be reached: pktgen-tests/docker-build.sh makes them with debootstrap.
ARG BUILDER=rust:1-bookworm
ARG RUNTIME=debian:bookworm-slim

FROM ${BUILDER} AS builder
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        clang gcc libc6-dev libclang-dev libdpdk-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /plimsoll
COPY . .
ARG CARGO_FLAGS=--locked
RUN cargo build --release ${CARGO_FLAGS} --target-dir /target \
        -p plimsoll-control --features dpdk --bin plimsolld --bin plimsoll

FROM ${RUNTIME}
# The libraries that plimsolld links, and the drivers that DPDK loads when it starts: virtual devices, then NICs.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        librte-eal23 librte-ethdev23 librte-mbuf23 librte-mempool23 \
        librte-mempool-ring23 librte-bus-pci23 librte-bus-vdev23 \
        librte-net-af-packet23 librte-net-null23 librte-net-pcap23 librte-net-tap23 \
        librte-net-vhost23 librte-net-virtio23 \
        librte-net-e1000-23 librte-net-ena23 librte-net-i40e23 librte-net-iavf23 librte-net-ice23 \
        librte-net-igc23 librte-net-ixgbe23 librte-net-mlx5-23 librte-net-vmxnet3-23 \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir -p /etc/plimsoll /run/plimsoll
COPY --from=builder /target/release/plimsolld /target/release/plimsoll /usr/bin/
# /metrics and /api, where the configuration does not keep them on the loopback.
EXPOSE 9142
STOPSIGNAL SIGTERM
ENTRYPOINT ["plimsolld"]
CMD ["--config", "/etc/plimsoll/plimsoll.yaml"]
