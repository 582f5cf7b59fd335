//! A header's checksum through every change we make to it.

use proptest::prelude::*;

use super::*;

fn fields() -> impl Strategy<Value = Fields> {
    let addresses = any::<(u32, u32)>();
    (addresses, any::<(u8, u8, u8, u16, bool, u16)>()).prop_map(|((source, destination), it)| {
        let (protocol, ttl, tos, id, dont_fragment, total_length) = it;
        Fields {
            source: V4(source),
            destination: V4(destination),
            protocol,
            ttl,
            tos,
            id,
            dont_fragment,
            total_length,
        }
    })
}

proptest! {
    #[test]
    fn a_header_reads_what_was_written(fields in fields()) {
        let mut bytes = [0xee; HEADER_BYTES];
        write_header(&mut bytes, &fields);
        let oracle = etherparse::Ipv4Header::from_slice(&bytes).unwrap().0;
        prop_assert_eq!(oracle.header_checksum, oracle.calc_header_checksum());
        let header = Header::new(&bytes).unwrap();
        prop_assert!(header.is_intact());
        prop_assert_eq!((header.version(), header.header_bytes()), (4, 20));
        prop_assert!(!header.is_fragment());
        let read = Fields {
            source: header.source(),
            destination: header.destination(),
            protocol: header.protocol(),
            ttl: header.ttl(),
            tos: header.tos(),
            id: header.id(),
            dont_fragment: header.dont_fragment(),
            total_length: header.total_length(),
        };
        prop_assert_eq!(read, fields);
    }

    #[test]
    fn a_hop_keeps_the_checksum_right(fields in fields()) {
        let mut bytes = [0; HEADER_BYTES];
        write_header(&mut bytes, &fields);
        let mut header = Header::new_mut(&mut bytes).unwrap();
        header.decrement_ttl();
        prop_assert!(header.is_intact());
        prop_assert_eq!(header.ttl(), fields.ttl.saturating_sub(1));
        prop_assert_eq!(header.protocol(), fields.protocol);
        prop_assert_eq!(header.checksum(), header_checksum(&bytes));
    }

    #[test]
    fn new_addresses_keep_the_checksum_right(fields in fields(), new: (u32, u32)) {
        let mut bytes = [0; HEADER_BYTES];
        write_header(&mut bytes, &fields);
        let mut header = Header::new_mut(&mut bytes).unwrap();
        let delta = Delta::NONE
            .v4(header.source(), V4(new.0))
            .v4(header.destination(), V4(new.1));
        header.set_source(V4(new.0));
        header.set_destination(V4(new.1));
        header.update_checksum(delta);
        prop_assert_eq!(header.checksum(), header_checksum(&bytes));
    }
}
