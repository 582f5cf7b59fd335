//! Texts that `ipvsadm` 1.31 printed, taken apart and put together again.

use super::*;
use crate::runtime::Administration;
use plimsoll_dataplane::spec::forward::ForwardMethod;
use plimsoll_dataplane::spec::target::VipSocket;

use crate::config::leaf::Leaf as _;
use crate::report::Session;

const LISTS: [&str; 6] = [
    include_str!("../../../tests/ipvsadm/list-sh.txt"),
    include_str!("../../../tests/ipvsadm/list.txt"),
    include_str!("../../../tests/ipvsadm/list-nat.txt"),
    include_str!("../../../tests/ipvsadm/list-udp.txt"),
    include_str!("../../../tests/ipvsadm/list-sctp.txt"),
    include_str!("../../../tests/ipvsadm/list-all.txt"),
];
const STATS: [&str; 5] = [
    include_str!("../../../tests/ipvsadm/list-stats.txt"),
    include_str!("../../../tests/ipvsadm/stats-nat.txt"),
    include_str!("../../../tests/ipvsadm/stats-v6.txt"),
    include_str!("../../../tests/ipvsadm/stats-sctp.txt"),
    include_str!("../../../tests/ipvsadm/stats-all.txt"),
];
const RATES: [&str; 2] = [
    include_str!("../../../tests/ipvsadm/rate-nat.txt"),
    include_str!("../../../tests/ipvsadm/rate-all.txt"),
];
const THRESHOLDS: &str = include_str!("../../../tests/ipvsadm/thresholds.txt");
const PERSISTENT: &str = include_str!("../../../tests/ipvsadm/persistent-conn.txt");
const SESSIONS: [&str; 3] = [
    include_str!("../../../tests/ipvsadm/sessions.txt"),
    include_str!("../../../tests/ipvsadm/sessions-v6.txt"),
    include_str!("../../../tests/ipvsadm/sessions-sctp.txt"),
];

fn protocol(word: &str) -> Protocol {
    match word {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        other => panic!("{other}"),
    }
}

fn flags(words: &[&str]) -> Vec<std::borrow::Cow<'static, str>> {
    let flags = words.iter().find_map(|word| word.strip_prefix('('));
    let flags = flags.map_or("", |flags| flags.trim_end_matches(')'));
    let flags = flags.split(',').filter(|flag| !flag.is_empty());
    flags.map(|flag| flag.to_owned().into()).collect()
}

fn persistence(words: &[&str]) -> Option<Persistence> {
    let after = |name| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).copied()
    };
    let mask = after("mask").map_or(32, |mask| {
        let mask: Ipv4Addr = mask.parse().unwrap();
        u8::try_from(mask.to_bits().count_ones()).unwrap()
    });
    let timeout_s: u32 = after("persistent")?.parse().unwrap();
    let timeout_ms = 1000 * timeout_s;
    Some(Persistence { timeout_ms, mask })
}

/// Takes a text apart: the words after a service's address, and the numbers at the end of a real server's line.
fn read(
    text: &str,
    of_service: fn(&mut Service, &[&str]),
    of_real: fn(&mut Real, &[u64]),
) -> Services {
    let mut services: Vec<Service> = Vec::new();
    for line in text.lines().filter(|line| !line.contains(":Port")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "IP" => {}
            "->" => {
                let mut real = Real {
                    address: words[1].parse().unwrap(),
                    forward: match words[2] {
                        "Masq" => ForwardMethod::Nat,
                        "Tunnel" => ForwardMethod::Tunnel,
                        _ => ForwardMethod::Direct,
                    },
                    weight: 0,
                    weight_of_file: None,
                    administration: Some(Administration::Enabled),
                    removed: false,
                    upper: 0,
                    lower: 0,
                    settings: std::collections::BTreeMap::default(),
                    active: 0,
                    inactive: 0,
                    persistent: 0,
                    counters: Counters::default(),
                    rate: None,
                };
                let words = words[2..].iter();
                let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
                of_real(&mut real, &numbers);
                services.last_mut().unwrap().reals.push(real);
            }
            word => {
                let mut service = Service {
                    name: String::new(),
                    target: match word {
                        "FWM" => Target::Mark {
                            mark: words[1].parse().unwrap(),
                            ipv6: false,
                        },
                        _ => Target::Vip {
                            vip: VipSocket::parse(words[1]).unwrap(),
                            protocol: protocol(word),
                        },
                    },
                    removed: false,
                    scheduler: String::new(),
                    scheduler_flags: Vec::new(),
                    persistence: None,
                    one_packet: false,
                    counters: Counters::default(),
                    rate: None,
                    reals: Vec::new(),
                };
                of_service(&mut service, &words[2..]);
                services.push(service);
            }
        }
    }
    assert!(!services.is_empty());
    Services {
        capacity: 4096,
        services,
    }
}

fn headed(service: &mut Service, words: &[&str]) {
    words[0].clone_into(&mut service.scheduler);
    service.scheduler_flags = flags(words);
    service.persistence = persistence(words);
    service.one_packet = words.contains(&"ops");
}

fn number(number: u64) -> u32 {
    u32::try_from(number).unwrap()
}

fn counts(numbers: &[u64]) -> Counters {
    Counters {
        conns: numbers[0],
        in_packets: numbers[1],
        out_packets: numbers[2],
        in_bytes: numbers[3],
        out_bytes: numbers[4],
    }
}

fn rates(numbers: &[u64]) -> Option<Rate> {
    Some(Rate {
        conns: numbers[0],
        in_packets: numbers[1],
        out_packets: numbers[2],
        in_bytes: numbers[3],
        out_bytes: numbers[4],
    })
}

fn parsed(words: &[&str]) -> Vec<u64> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

#[test]
fn services_look_as_ipvsadm_prints_them() {
    for text in LISTS {
        let list = read(text, headed, |real, numbers| {
            real.weight = number(numbers[0]);
            (real.active, real.inactive) = (numbers[1], numbers[2]);
        });
        assert_eq!(services(&list), text);
    }
}

#[test]
fn numbers_look_as_ipvsadm_prints_them() {
    for text in STATS {
        let list = read(
            text,
            |service, words| service.counters = counts(&parsed(words)),
            |real, numbers| real.counters = counts(numbers),
        );
        assert_eq!(stats(&list, false), text);
        assert_eq!(stats(&list, true), text);
    }
}

#[test]
fn rates_look_as_ipvsadm_prints_them() {
    for text in RATES {
        let list = read(
            text,
            |service, words| service.rate = rates(&parsed(words)),
            |real, numbers| real.rate = rates(numbers),
        );
        assert_eq!(rate(&list, false), text);
        assert_eq!(rate(&list, true), text);
    }
}

#[test]
fn thresholds_look_as_ipvsadm_prints_them() {
    let list = read(THRESHOLDS, headed, |real, numbers| {
        (real.upper, real.lower) = (number(numbers[0]), number(numbers[1]));
        (real.active, real.inactive) = (numbers[2], numbers[3]);
    });
    assert_eq!(thresholds(&list), THRESHOLDS);
}

#[test]
fn persistent_clients_look_as_ipvsadm_prints_them() {
    let list = read(PERSISTENT, headed, |real, numbers| {
        (real.weight, real.persistent) = (number(numbers[0]), numbers[1]);
        (real.active, real.inactive) = (numbers[2], numbers[3]);
    });
    assert_eq!(persistent(&list), PERSISTENT);
}

#[test]
fn a_mask_is_shown_unless_it_is_the_whole_address() {
    let mut list = read(LISTS[4], headed, |_, _| {});
    let service = &mut list.services[0];
    for (vip, mask, shown) in [
        ("192.0.2.1:80", 32, ""),
        ("192.0.2.1:80", 8, " mask 255.0.0.0"),
        ("192.0.2.1:80", 0, " mask 0.0.0.0"),
        ("[2001:db8::1]:80", 128, ""),
        ("[2001:db8::1]:80", 32, " mask 32"),
    ] {
        service.target = Target::Vip {
            vip: VipSocket::parse(vip).unwrap(),
            protocol: Protocol::Tcp,
        };
        service.persistence = Some(Persistence {
            timeout_ms: 9000,
            mask,
        });
        assert_eq!(
            headline(service),
            format!("TCP  {vip} {} persistent 9{shown}", service.scheduler)
        );
    }
}

#[test]
fn timeouts_look_as_ipvsadm_prints_them() {
    let shown = Timeouts {
        tcp_s: 900,
        tcp_fin_s: 120,
        udp_s: 300,
    };
    assert_eq!(timeouts(&shown), "Timeout (tcp tcpfin udp): 900 120 300\n");
}

#[test]
fn sessions_look_as_ipvsadm_prints_them() {
    for text in SESSIONS {
        let read = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (minutes, seconds) = words[1].split_once(':').unwrap();
            let number = |text: &str| text.parse::<u64>().unwrap();
            Session {
                protocol: match words[0] {
                    "IP" => SessionProtocol::Ip,
                    word => SessionProtocol::One(protocol(word)),
                },
                state: words[2].to_owned().into(),
                client: words[3].parse().unwrap(),
                virtual_: words[4].parse().unwrap(),
                real: words[5].parse().unwrap(),
                expires_s: 60 * number(minutes) + number(seconds),
            }
        };
        let list = Sessions {
            sessions: text.lines().skip(2).map(read).collect(),
            truncated: false,
            incomplete: false,
        };
        assert_eq!(sessions(&list), text);
    }
}

#[test]
fn large_numbers_are_cut_to_eight_places() {
    for (count, text) in [
        (0, "        0"),
        (99_999_999, " 99999999"),
        (100_000_000, "  100000K"),
        (999_999_999, "  999999K"),
        (1_000_000_000, "    1000M"),
        (99_999_999_999, "   99999M"),
        (100_000_000_000, "     100G"),
        (99_999_999_999_999, "   99999G"),
        (100_000_000_000_000, "     100T"),
        (u64::MAX, " 18446744T"),
    ] {
        assert_eq!(large(count), text);
    }
    let counts = [u64::MAX, 0, 0, 0, 0];
    assert!(numbers(counts, true).starts_with(" 18446744073709551615        0"));
}

#[test]
fn nothing_is_a_table_with_headings_only() {
    let list = Services {
        capacity: 1,
        services: Vec::new(),
    };
    for text in [
        services(&list),
        stats(&list, false),
        rate(&list, false),
        thresholds(&list),
        persistent(&list),
    ] {
        assert_eq!(text.lines().count(), 3);
    }
}

#[test]
fn services_by_mark_come_last_and_look_as_ipvsadm_prints_them() {
    let text = "IP Virtual Server version 1.2.1 (size=4096)\n\
                Prot LocalAddress:Port Scheduler Flags\n  \
                -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
                TCP  [2001:db8::100]:80 rr\n\
                FWM  9 mh (mh-port)\n";
    let mut list = read(text, headed, |_, _| {});
    assert_eq!(services(&list), text);
    list.services.reverse();
    assert_eq!(services(&list), text);
    list.services[0].target = Target::Mark {
        mark: 9,
        ipv6: true,
    };
    assert!(services(&list).contains("\nFWM  9 IPv6 mh (mh-port)\n"));
}
