/* The bodies of shim.h. Every name in DPDK that changed between the supported releases (22.11 to
 * 24.11) may be used in this file only. */
#include "shim.h"

#include <errno.h>
#include <string.h>

#define WIDTH(field, type)                                                                         \
	_Static_assert(sizeof(((struct rte_mbuf *)0)->field) == sizeof(type),                      \
		       "rte_mbuf." #field " changed its width: adapt dpdk/src/fields.rs")

WIDTH(buf_addr, void *);
WIDTH(data_off, uint16_t);
WIDTH(nb_segs, uint16_t);
WIDTH(pkt_len, uint32_t);
WIDTH(data_len, uint16_t);
WIDTH(buf_len, uint16_t);

uint16_t plim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, frames, count);
}

uint16_t plim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, frames, count);
}

struct rte_mbuf *plim_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int plim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, uint32_t count)
{
	return rte_pktmbuf_alloc_bulk(pool, frames, count);
}

void plim_mbuf_free(struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame);
}

int plim_mbuf_linearize(struct rte_mbuf *frame)
{
	return rte_pktmbuf_linearize(frame);
}

int plim_errno(void)
{
	return rte_errno;
}

uint64_t plim_tsc(void)
{
	return rte_rdtsc();
}

uint64_t plim_tsc_hz(void)
{
	return rte_get_tsc_hz();
}

int plim_port_info(uint16_t port, struct plim_port_info *info)
{
	struct rte_eth_dev_info from;
	const uint64_t rx_checksum = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |
				     RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	const uint64_t tx_checksum = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
				     RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	int status;

	memset(&from, 0, sizeof(from));
	status = rte_eth_dev_info_get(port, &from);
	*info = (struct plim_port_info){
		.driver = from.driver_name,
		.kernel_interface = from.if_index,
		.max_rx_frame = from.max_rx_pktlen,
		.min_mtu = from.min_mtu,
		.max_mtu = from.max_mtu,
		.max_rx_queues = from.max_rx_queues,
		.max_tx_queues = from.max_tx_queues,
		.rss_types = from.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP |
							    RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP),
		.queue_entries = from.reta_size,
		.hash_key_bytes = from.hash_key_size,
		.rx_checksum = (from.rx_offload_capa & rx_checksum) == rx_checksum,
		.tx_checksum = (from.tx_offload_capa & tx_checksum) == tx_checksum,
	};
	return status;
}

int plim_port_configure(uint16_t port, uint16_t queues, uint64_t rss_types, bool interrupts,
			const uint8_t *key, uint8_t key_bytes)
{
	struct rte_eth_conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.rxmode.mq_mode = rss_types != 0 ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE;
	conf.rx_adv_conf.rss_conf.rss_hf = rss_types;
	/* DPDK only reads it, but has no const there. */
	conf.rx_adv_conf.rss_conf.rss_key = (uint8_t *)(uintptr_t)key;
	conf.rx_adv_conf.rss_conf.rss_key_len = key != NULL ? key_bytes : 0;
	conf.intr_conf.rxq = interrupts;
	return rte_eth_dev_configure(port, queues, queues, &conf);
}

int plim_port_set_hash_key(uint16_t port, uint64_t rss_types, const uint8_t *key,
			   uint8_t key_bytes)
{
	struct rte_eth_rss_conf conf;

	memset(&conf, 0, sizeof(conf));
	conf.rss_key = (uint8_t *)(uintptr_t)key;
	conf.rss_key_len = key_bytes;
	conf.rss_hf = rss_types;
	return rte_eth_dev_rss_hash_update(port, &conf);
}

int plim_port_hash(uint16_t port, uint8_t key_bytes, struct plim_port_hash *hash)
{
	const uint64_t tcp = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
	const uint64_t udp = RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
	const uint64_t sctp = RTE_ETH_RSS_NONFRAG_IPV4_SCTP | RTE_ETH_RSS_NONFRAG_IPV6_SCTP;
	const uint64_t v4 = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4;
	const uint64_t v6 = RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6;
	struct rte_eth_rss_conf conf;
	int status;

	memset(hash, 0, sizeof(*hash));
	memset(&conf, 0, sizeof(conf));
	conf.rss_key = hash->key;
	conf.rss_key_len = key_bytes <= PLIM_MAX_HASH_KEY ? key_bytes : 0;
	status = rte_eth_dev_rss_hash_conf_get(port, &conf);
	if (status != 0)
		return status;
	hash->key_bytes = conf.rss_key != NULL && conf.rss_key_len <= PLIM_MAX_HASH_KEY
				  ? conf.rss_key_len
				  : 0;
	/* Some drivers lend their own copy instead of filling ours. */
	if (conf.rss_key != NULL && conf.rss_key != hash->key)
		memcpy(hash->key, conf.rss_key, hash->key_bytes);
	hash->tcp_ports = (conf.rss_hf & tcp) == tcp;
	hash->udp_ports = (conf.rss_hf & udp) == udp;
	hash->sctp_ports = (conf.rss_hf & sctp) == sctp;
	hash->addresses = (conf.rss_hf & v4) != 0 && (conf.rss_hf & v6) != 0;
	return 0;
}

int plim_port_set_queue_entries(uint16_t port, const uint16_t *queues, uint16_t count)
{
	struct rte_eth_rss_reta_entry64 groups[PLIM_MAX_QUEUE_ENTRIES / RTE_ETH_RETA_GROUP_SIZE];
	uint16_t i;

	if (count > PLIM_MAX_QUEUE_ENTRIES)
		return -ENOTSUP;
	memset(groups, 0, sizeof(groups));
	for (i = 0; i < count; i++) {
		groups[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1)
							    << (i % RTE_ETH_RETA_GROUP_SIZE);
		groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = queues[i];
	}
	return rte_eth_dev_rss_reta_update(port, groups, count);
}

int plim_port_queue_entries(uint16_t port, uint16_t *queues, uint16_t count)
{
	struct rte_eth_rss_reta_entry64 groups[PLIM_MAX_QUEUE_ENTRIES / RTE_ETH_RETA_GROUP_SIZE];
	uint16_t i;
	int status;

	if (count > PLIM_MAX_QUEUE_ENTRIES)
		return -ENOTSUP;
	memset(groups, 0, sizeof(groups));
	for (i = 0; i < count; i++)
		groups[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1)
							    << (i % RTE_ETH_RETA_GROUP_SIZE);
	status = rte_eth_dev_rss_reta_query(port, groups, count);
	for (i = 0; i < count; i++)
		queues[i] = groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	return status;
}

int plim_port_stats(uint16_t port, struct plim_port_stats *stats)
{
	struct rte_eth_stats from;
	int status;

	memset(&from, 0, sizeof(from));
	status = rte_eth_stats_get(port, &from);
	*stats = (struct plim_port_stats){
		.rx_packets = from.ipackets,
		.tx_packets = from.opackets,
		.rx_bytes = from.ibytes,
		.tx_bytes = from.obytes,
		.rx_missed = from.imissed,
		.rx_errors = from.ierrors,
		.tx_errors = from.oerrors,
		.rx_no_buffer = from.rx_nombuf,
	};
	return status;
}

int plim_port_link_up(uint16_t port, bool *up)
{
	struct rte_eth_link link;
	int status;

	memset(&link, 0, sizeof(link));
	status = rte_eth_link_get_nowait(port, &link);
	*up = link.link_status == RTE_ETH_LINK_UP;
	return status;
}

int plim_port_mac(uint16_t port, uint8_t mac[6])
{
	struct rte_ether_addr from;
	int status;

	memset(&from, 0, sizeof(from));
	status = rte_eth_macaddr_get(port, &from);
	memcpy(mac, from.addr_bytes, sizeof(from.addr_bytes));
	return status;
}

int plim_port_set_mac(uint16_t port, const uint8_t mac[6])
{
	struct rte_ether_addr to;

	memcpy(to.addr_bytes, mac, sizeof(to.addr_bytes));
	return rte_eth_dev_default_mac_addr_set(port, &to);
}

int plim_port_remove_device(uint16_t port)
{
	struct rte_eth_dev_info info;
	int status = rte_eth_dev_info_get(port, &info);

	return status != 0 ? status : rte_dev_remove(info.device);
}
