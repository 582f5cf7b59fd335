//! Safe ownership of DPDK's nouns: Eal, Mempool, Mbuf, Port and its queues.
