//! Whether a text is keepalived.conf, or a part of it that some other file includes.
//! Only its first lines are looked at, and nothing is read.

use ipnet::IpNet;

use super::health;
use super::keywords::{
    DPVS_GROUPS, FLAGS, INCLUDES, LOST_OF_FILE, LOST_OF_REAL, LOST_OF_SERVER, OF_DPVS, READ,
};
use super::words::{definition, split};
use crate::config::diagnostics::begins_like;

/// Whether one of the first lines is one of keepalived.conf, so that mistakes may be shown with their lines.
pub(super) fn is_familiar(text: &str) -> bool {
    begins_like(text, &['#', '!'], is_line)
}

fn is_line(line: &str) -> bool {
    let line = match line.strip_prefix('@') {
        Some(condition) => split(condition).1,
        None => line,
    };
    if definition(line).is_some() || line.starts_with("~SEQ") || line.starts_with("~LST") {
        return true;
    }
    let (word, rest) = split(line);
    let word = word.trim_matches(['"', '\'', '{', '}']);
    is_keyword(word) || is_member(word, split(rest).0)
}

fn is_keyword(word: &str) -> bool {
    let dpvs = OF_DPVS.iter().any(|(known, _)| *known == word);
    let lists = [
        READ,
        FLAGS,
        LOST_OF_FILE,
        LOST_OF_SERVER,
        LOST_OF_REAL,
        DPVS_GROUPS,
        INCLUDES,
    ];
    dpvs || health::kind(word).is_some() || lists.iter().any(|list| list.contains(&word))
}

/// `192.0.2.1-10 80`, as in a group. The port tells it from a line of hosts(5).
fn is_member(word: &str, port: &str) -> bool {
    let first = word.split(['-', '/']).next().unwrap_or(word);
    let is_address = first.parse::<std::net::IpAddr>().is_ok() || word.parse::<IpNet>().is_ok();
    is_address && port.parse::<u16>().is_ok()
}
