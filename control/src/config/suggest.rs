//! "Did you mean": the valid name nearest to a mistyped one, and the words of LVS and its peers.
//! Suggests nothing rather than something far-fetched.

/// What users of ipvsadm, keepalived and HAProxy write, and the name that Plimsoll has for it.
const WORDS: &[(&str, &str)] = &[
    ("backends", "reals"),
    ("servers", "reals"),
    ("real_servers", "reals"),
    ("realservers", "reals"),
    ("real_server", "reals"),
    ("virtual_servers", "services"),
    ("virtual_server", "services"),
    ("frontends", "services"),
    ("lb_algo", "scheduler"),
    ("lvs_sched", "scheduler"),
    ("algorithm", "scheduler"),
    ("lb_kind", "forward"),
    ("lvs_method", "forward"),
    ("mode", "forward"),
    ("method", "forward"),
    ("proto", "protocol"),
    ("gateway", "via"),
    ("interfaces", "ports"),
    ("pci", "device"),
    ("gatewaying", "dr"),
    ("direct", "dr"),
    ("route", "dr"),
    ("masq", "nat"),
    ("masquerading", "nat"),
    ("ipip", "tunnel"),
    ("tun", "tunnel"),
    ("roundrobin", "rr"),
    ("round-robin", "rr"),
    ("round_robin", "rr"),
    ("leastconn", "lc"),
    ("least_conn", "lc"),
    ("maglev", "mh"),
    ("u_threshold", "upper"),
    ("l_threshold", "lower"),
    ("persistence_timeout", "persistence"),
    ("neighbours", "neighbors"),
    ("lladdr", "mac"),
    ("yes", "on"),
    ("true", "on"),
    ("no", "off"),
    ("false", "off"),
];

/// Keys and names that other balancers have and this version has not, each with one that stands beside it, and what
/// they stand for.
const LATER: &[(&str, &str, &str)] = &[
    ("health", "reals", "health checking"),
    ("health_check", "reals", "health checking"),
    ("healthcheck", "reals", "health checking"),
    ("fullnat", "nat", "the forwarding method `fullnat`"),
];

/// What a key or name stands for that this version has not, where `names` can stand: what it is, and the name whose
/// meaning is nearest to it.
pub(super) fn later<'n>(text: &str, names: &[&'n str]) -> Option<(&'static str, &'n str)> {
    let missing = LATER.iter().filter(|(later, ..)| !names.contains(later));
    missing.into_iter().find_map(|(later, beside, what)| {
        let beside = names.iter().find(|name| *name == beside)?;
        nearest(text, &[later]).map(|_| (*what, *beside))
    })
}

/// The one of `names` that `text` most likely means.
pub(crate) fn nearest<'n>(text: &str, names: &[&'n str]) -> Option<&'n str> {
    let text: String = text.to_lowercase().chars().take(40).collect();
    let names = names.iter().copied();
    if let Some((_, word)) = WORDS.iter().find(|(other, _)| *other == text)
        && let Some(name) = names.clone().find(|name| *name == *word)
    {
        return Some(name);
    }
    let allowed = (text.chars().count() / 3).max(1);
    names
        .map(|name| (strsim::damerau_levenshtein(&text, name), name))
        .filter(|(distance, name)| *distance <= allowed && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_and_other_programs_words_are_suggested_and_nothing_far() {
        let keys = ["name", "vip", "scheduler", "reals", "forward"];
        assert_eq!(nearest("schedular", &keys), Some("scheduler"));
        assert_eq!(nearest("Forward", &keys), Some("forward"));
        assert_eq!(nearest("backends", &keys), Some("reals"));
        assert_eq!(nearest("vpi", &keys), Some("vip"));
        assert_eq!(nearest("timeout", &keys), None);
        assert_eq!(nearest("", &keys), None);
        assert_eq!(nearest("rrr", &["rr", "wrr"]), Some("rr"));
    }

    #[test]
    fn a_name_that_is_there_is_not_called_missing() {
        let fullnat = Some(("the forwarding method `fullnat`", "nat"));
        assert_eq!(later("fulnat", &["nat"]), fullnat);
        assert_eq!(later("fulnat", &["nat", "fullnat"]), None);
    }
}
