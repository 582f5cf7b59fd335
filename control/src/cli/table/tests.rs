//! Texts that `ipvsadm` 1.31 printed, taken apart and put together again.

use super::*;
use crate::config::leaf::{Leaf as _, Vip, Written};
use crate::report::Session;

const LISTS: [&str; 4] = [
    include_str!("../../../tests/ipvsadm/list-sh.txt"),
    include_str!("../../../tests/ipvsadm/list.txt"),
    include_str!("../../../tests/ipvsadm/list-nat.txt"),
    include_str!("../../../tests/ipvsadm/list-udp.txt"),
];
const STATS: [&str; 3] = [
    include_str!("../../../tests/ipvsadm/list-stats.txt"),
    include_str!("../../../tests/ipvsadm/stats-nat.txt"),
    include_str!("../../../tests/ipvsadm/stats-v6.txt"),
];
const SESSIONS: [&str; 2] = [
    include_str!("../../../tests/ipvsadm/sessions.txt"),
    include_str!("../../../tests/ipvsadm/sessions-v6.txt"),
];

fn protocol(word: &str) -> Protocol {
    match word {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        other => panic!("{other}"),
    }
}

fn counts(words: &[&str]) -> Counters {
    let number = |place: usize| words[place].parse().unwrap();
    Counters {
        conns: number(0),
        in_packets: number(1),
        out_packets: number(2),
        in_bytes: number(3),
        out_bytes: number(4),
    }
}

fn flags(word: Option<&&str>) -> Vec<std::borrow::Cow<'static, str>> {
    let flags = word.map_or("", |word| word.trim_matches(['(', ')']));
    let flags = flags.split(',').filter(|flag| !flag.is_empty());
    flags.map(|flag| flag.to_owned().into()).collect()
}

fn read(text: &str, stats: bool) -> Services {
    let mut services: Vec<Service> = Vec::new();
    for line in text.lines().filter(|line| !line.contains(":Port")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let counted = |from: usize| {
            if stats {
                counts(&words[from..])
            } else {
                Counters::default()
            }
        };
        match words[0] {
            "IP" => {}
            "->" => {
                let plain = |place: usize| {
                    if stats {
                        0
                    } else {
                        words[place].parse().unwrap()
                    }
                };
                services.last_mut().unwrap().reals.push(Real {
                    address: words[1].parse().unwrap(),
                    forward: match words[2] {
                        "Masq" => Forward::Nat,
                        "Tunnel" => Forward::Tunnel,
                        _ => Forward::Dr,
                    },
                    weight: u32::try_from(plain(3)).unwrap(),
                    active: plain(4),
                    inactive: plain(5),
                    persistent: 0,
                    counters: counted(2),
                });
            }
            word => services.push(Service {
                name: String::new(),
                target: match word {
                    "FWM" => Target::Mark {
                        mark: words[1].parse().unwrap(),
                        ipv6: false,
                    },
                    _ => Target::Vip {
                        vip: Written(Vip::parse(words[1]).unwrap()),
                        protocol: protocol(word),
                    },
                },
                scheduler: if stats {
                    String::new()
                } else {
                    words[2].to_owned()
                },
                scheduler_flags: flags(words.get(3).filter(|_| !stats)),
                persistence: None,
                one_packet: false,
                counters: counted(2),
                reals: Vec::new(),
            }),
        }
    }
    Services {
        capacity: 4096,
        services,
    }
}

#[test]
fn services_look_as_ipvsadm_prints_them() {
    for text in LISTS {
        let list = read(text, false);
        assert!(!list.services.is_empty());
        assert_eq!(services(&list), text);
    }
}

#[test]
fn numbers_look_as_ipvsadm_prints_them() {
    for text in STATS {
        let list = read(text, true);
        assert!(!list.services.is_empty());
        assert_eq!(stats(&list, false), text);
        assert_eq!(stats(&list, true), text);
    }
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
    let counts = Counters {
        conns: u64::MAX,
        ..Counters::default()
    };
    assert!(numbers(&counts, true).starts_with(" 18446744073709551615        0"));
}

#[test]
fn nothing_is_a_table_with_headings_only() {
    let list = Services {
        capacity: 1,
        services: Vec::new(),
    };
    assert_eq!(services(&list).lines().count(), 3);
    assert_eq!(stats(&list, false).lines().count(), 3);
}

#[test]
fn services_by_mark_come_last_and_look_as_ipvsadm_prints_them() {
    let text = "IP Virtual Server version 1.2.1 (size=4096)\n\
                Prot LocalAddress:Port Scheduler Flags\n  \
                -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
                TCP  [2001:db8::100]:80 rr\n  \
                -> [2001:db8:1::11]:80          Route   1      0          0         \n\
                FWM  9 mh (mh-port)\n  \
                -> 10.1.0.11:0                  Route   1      0          0         \n";
    let mut list = read(text, false);
    assert_eq!(services(&list), text);
    list.services.reverse();
    assert_eq!(services(&list), text);
    list.services[0].target = Target::Mark {
        mark: 9,
        ipv6: true,
    };
    assert!(services(&list).contains("\nFWM  9 IPv6 mh (mh-port)\n"));
}
