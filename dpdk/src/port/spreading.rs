//! How a port spreads flows over its queues: the hash, its key and the redirection table, as its driver tells.
//! Whether that is relied on is not decided here.

use std::mem::MaybeUninit;
use std::ptr;

use plimsoll_dataplane::steering::{HashedPorts, KEY_BYTES};

use crate::lease::Device;

/// What a port hashes, as its driver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// The key in force.
    pub key: Vec<u8>,
    /// Which packets are hashed with their ports, of both families.
    pub ports: HashedPorts,
    /// Whether all other packets are hashed by their addresses.
    pub addresses: bool,
}

impl Hashed {
    /// Whether the key in force begins with this one; what follows plays no part in the hash of a packet.
    #[must_use]
    pub fn is_by(&self, key: &[u8]) -> bool {
        self.key
            .iter()
            .take(KEY_BYTES)
            .eq(key.iter().take(KEY_BYTES))
    }
}

/// What a driver can be asked to hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hashing {
    /// DPDK's types of packets; 0 for none.
    pub(super) types: u64,
    key_bytes: u8,
}

impl Hashing {
    pub(super) fn of(info: &dpdk_sys::plim_port_info, types: u64) -> Self {
        let unknown = info.hash_key_bytes == 0;
        Self {
            types,
            key_bytes: if unknown { 40 } else { info.hash_key_bytes },
        }
    }

    /// The key as long as the device wants it; `None` if that is too short for all packets, or no key is wanted.
    pub(super) fn key(self, key: Option<&[u8; KEY_BYTES]>) -> Option<Vec<u8>> {
        let bytes = usize::from(self.key_bytes);
        let fits = (KEY_BYTES..=dpdk_sys::PLIM_MAX_HASH_KEY as usize).contains(&bytes);
        let key = key.filter(|_| fits && self.types != 0)?;
        Some(key.iter().copied().cycle().take(bytes).collect())
    }

    pub(super) fn set_key(self, port: u16, key: &[u8]) {
        let (key, bytes) = raw(Some(key));
        // SAFETY: the port exists, and the key is as long as stated. What comes of it is read back.
        unsafe { dpdk_sys::plim_port_set_hash_key(port, self.types, key, bytes) };
    }

    pub(super) fn in_force(self, port: u16) -> Option<Hashed> {
        if self.types == 0 {
            return None;
        }
        let mut hash = MaybeUninit::uninit();
        // SAFETY: the port exists; the shim writes the whole struct, whatever it returns.
        let (status, hash) = unsafe {
            let status = dpdk_sys::plim_port_hash(port, self.key_bytes, hash.as_mut_ptr());
            (status, hash.assume_init())
        };
        let key = hash.key.get(..usize::from(hash.key_bytes))?;
        (status == 0 && key.len() >= KEY_BYTES).then(|| Hashed {
            key: key.to_vec(),
            ports: HashedPorts {
                tcp: hash.tcp_ports,
                udp: hash.udp_ports,
                sctp: hash.sctp_ports,
            },
            addresses: hash.addresses,
        })
    }
}

/// A key as C takes it.
pub(super) fn raw(key: Option<&[u8]>) -> (*const u8, u8) {
    let pointer = key.map_or(ptr::null(), <[u8]>::as_ptr);
    let bytes = key.map_or(0, |key| u8::try_from(key.len()).unwrap_or(0));
    (pointer, bytes)
}

/// The redirection table of a port: queues by the hash modulo the number of its entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueTable {
    /// 0 if it has none.
    pub(super) entries: u16,
}

impl QueueTable {
    /// As [`crate::Port::spread_over`].
    pub(super) fn set(self, device: &Device, queues: &[u16]) -> bool {
        let entries = usize::from(self.entries);
        let most = dpdk_sys::PLIM_MAX_QUEUE_ENTRIES as usize;
        if queues.is_empty()
            || entries > most
            || entries == 0
            || !entries.is_multiple_of(queues.len())
        {
            return false;
        }
        let wanted: Vec<u16> = queues.iter().copied().cycle().take(entries).collect();
        let status = {
            let _control = device.control();
            // SAFETY: the port exists while `device` is held, and the list has as many elements as stated.
            unsafe {
                dpdk_sys::plim_port_set_queue_entries(device.id(), wanted.as_ptr(), self.entries)
            }
        };
        status == 0 && self.read(device) == Some(wanted)
    }

    /// As [`crate::Port::queue_entries`].
    pub(super) fn read(self, device: &Device) -> Option<Vec<u16>> {
        let entries = usize::from(self.entries);
        if !(1..=dpdk_sys::PLIM_MAX_QUEUE_ENTRIES as usize).contains(&entries) {
            return None;
        }
        let mut present = vec![0; entries];
        let _control = device.control();
        // SAFETY: the port exists while `device` is held, and the list has as many elements as stated.
        let status = unsafe {
            dpdk_sys::plim_port_queue_entries(device.id(), present.as_mut_ptr(), self.entries)
        };
        (status == 0).then_some(present)
    }
}
