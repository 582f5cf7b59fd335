/* What Plimsoll takes from DPDK: the list of functions is in build.rs, and this file adds a plain
 * function or a plain struct wherever DPDK has an inline function, a bit field, or a struct whose
 * fields move between releases. No decisions are made here.
 *
 * rte_config.h has to come first: DPDK's headers do not include it themselves. */
#ifndef PLIMSOLL_SHIM_H
#define PLIMSOLL_SHIM_H

#include <rte_config.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

/* Where the fields of a packet buffer are in this build of DPDK. Rust reads them in place: one
 * call per field and packet would cost more than the rest of the driver seam. */
enum plim_mbuf_offset {
	PLIM_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	PLIM_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	PLIM_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	PLIM_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	PLIM_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	PLIM_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
};

enum plim_constant {
	PLIM_HEADROOM = RTE_PKTMBUF_HEADROOM,
	PLIM_DEFAULT_DATA_ROOM = RTE_MBUF_DEFAULT_BUF_SIZE,
	PLIM_MAX_LCORES = RTE_MAX_LCORE,
	PLIM_DEVICE_NAME_BYTES = RTE_ETH_NAME_MAX_LEN,
	/* net_tap puts the files of all its queues, two for each pair, into one message when it starts, and
	 * writes over the end of it without a check (seen with 22.11, where there is room for 8). */
	PLIM_TAP_QUEUES = RTE_MP_MAX_FD_NUM / 2,
	PLIM_MAX_HASH_KEY = 64,
	PLIM_MAX_QUEUE_ENTRIES = 2048,
};

/* rte_eth_dev_info, the part that is used. */
struct plim_port_info {
	const char *driver;
	uint32_t kernel_interface; /* 0: none */
	uint32_t max_rx_frame;
	uint16_t min_mtu;
	uint16_t max_mtu;
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint64_t rss_types;
	uint16_t queue_entries; /* of the redirection table; 0: none */
	uint8_t hash_key_bytes; /* 0: unknown */
	bool rx_checksum;
	bool tx_checksum;
};

/* rte_eth_rss_conf, as it is in force. */
struct plim_port_hash {
	uint8_t key[PLIM_MAX_HASH_KEY];
	uint8_t key_bytes; /* 0: the driver does not tell it */
	bool tcp_ports;	   /* of both families, as the others */
	bool udp_ports;
	bool sctp_ports;
	bool addresses; /* of fragments and what has no ports */
};

/* rte_eth_stats, the part that is used. */
struct plim_port_stats {
	uint64_t rx_packets;
	uint64_t tx_packets;
	uint64_t rx_bytes;
	uint64_t tx_bytes;
	uint64_t rx_missed;
	uint64_t rx_errors;
	uint64_t tx_errors;
	uint64_t rx_no_buffer;
};

/* Opaque in Rust. */
struct rte_mbuf;
struct rte_mempool;

uint16_t plim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);
uint16_t plim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);

struct rte_mbuf *plim_mbuf_alloc(struct rte_mempool *pool);
int plim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, uint32_t count);
void plim_mbuf_free(struct rte_mbuf *frame);
int plim_mbuf_linearize(struct rte_mbuf *frame);

int plim_errno(void);
uint64_t plim_tsc(void);
uint64_t plim_tsc_hz(void);

int plim_port_info(uint16_t port, struct plim_port_info *info);
/* Without a key the driver takes its own. */
int plim_port_configure(uint16_t port, uint16_t queues, uint64_t rss_types, bool interrupts,
			const uint8_t *key, uint8_t key_bytes);
int plim_port_set_hash_key(uint16_t port, uint64_t rss_types, const uint8_t *key,
			   uint8_t key_bytes);
int plim_port_hash(uint16_t port, uint8_t key_bytes, struct plim_port_hash *hash);
int plim_port_set_queue_entries(uint16_t port, const uint16_t *queues, uint16_t count);
int plim_port_queue_entries(uint16_t port, uint16_t *queues, uint16_t count);
int plim_port_stats(uint16_t port, struct plim_port_stats *stats);
int plim_port_link_up(uint16_t port, bool *up);
int plim_port_mac(uint16_t port, uint8_t mac[6]);
int plim_port_set_mac(uint16_t port, const uint8_t mac[6]);
int plim_port_remove_device(uint16_t port);

#endif
