//! What two runs of one kernel would not agree on: made-up identifications, hashed ports, flow labels.
//! Everything else of a frame is compared as it is.

const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// ICMP errors that the director makes, and its outer headers: IP in IP of both families, GRE and GUE.
const MADE_HERE: [u8; 5] = [1, 4, 41, 47, 17];
/// The director's own addresses.
const DIRECTOR: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 1, 0, 1]];
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Zeroes what LVS makes up.
pub(super) fn mask(frame: &mut [u8]) {
    let kind = frame.get(12..14).and_then(|kind| kind.try_into().ok());
    let Some(packet) = frame.get_mut(ETHERNET..) else {
        return;
    };
    match kind {
        Some(IPV4) => ipv4(packet),
        Some(IPV6) => ipv6(packet),
        _ => {}
    }
}

fn ipv4(packet: &mut [u8]) {
    let Some(
        &[
            first,
            _,
            _,
            _,
            _,
            _,
            flags,
            _,
            _,
            protocol,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
        ],
    ) = packet.first_chunk::<16>()
    else {
        return;
    };
    let own = DIRECTOR.contains(&[s0, s1, s2, s3]);
    // An error is sent from the virtual address; what a client sent is not changed by its being masked.
    if !MADE_HERE.contains(&protocol) || !(own || protocol == ICMP) {
        return;
    }
    // With DF set the identification is 0 by rule, so it is compared.
    if flags & 0x40 == 0 {
        zero(packet, &[4, 5, 10, 11]);
    }
    if own && protocol == UDP {
        // GUE's source port is a hash of the flow; the checksum, if there is one, covers it.
        let header = usize::from(first & 0x0f) * 4;
        zero(packet, &[header, header + 1, header + 6, header + 7]);
    }
}

fn ipv6(packet: &mut [u8]) {
    if packet.get(6) != Some(&ICMPV6) {
        return;
    }
    if let Some(byte) = packet.get_mut(1) {
        *byte &= 0xf0;
    }
    zero(packet, &[2, 3]);
}

fn zero(packet: &mut [u8], at: &[usize]) {
    for at in at {
        if let Some(byte) = packet.get_mut(*at) {
            *byte = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_director_makes_is_masked() {
        let mut client = [7_u8; 60];
        client[12..14].copy_from_slice(&IPV4);
        client[ETHERNET] = 0x45;
        client[ETHERNET + 9] = 6;
        let before = client;
        mask(&mut client);
        assert_eq!(client, before);
        client[ETHERNET + 6] = 0;
        client[ETHERNET + 9] = ICMP;
        mask(&mut client);
        assert_eq!(client[ETHERNET + 4..ETHERNET + 6], [0, 0]);
        assert_eq!(client[ETHERNET + 10..ETHERNET + 12], [0, 0]);
        assert_eq!(client[ETHERNET + 12..], before[ETHERNET + 12..]);
    }
}
