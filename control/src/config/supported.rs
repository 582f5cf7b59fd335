//! What this version's data plane carries, of all that the format can say. This file is the only list:
//! a value or a key is enabled by its one line here.

use serde_json::Value as Json;

use super::file::{DEFAULT_GUE_PORT, Forward, Protocol, Scheduler, TunnelType};
use super::valid;

/// Keys that the format has and this version does not, as (schema definition, property).
const KEYS_OF_LATER: &[(&str, &str)] = &[("Service", "health")];

/// An enumeration of the format, of which a version may carry a part.
pub(crate) trait Offered: Copy + Sized + 'static {
    /// What it is called in messages.
    const WHAT: &'static str;
    /// Its schema definition.
    const DEFINITION: &'static str;
    /// What the data plane works with.
    type Works;
    /// Every value that the format knows.
    const EVERY: &'static [Self];
    /// Its name in the file.
    fn word(self) -> &'static str;
    /// The data plane's value, if it has one.
    fn works(self) -> Option<Self::Works>;

    /// The names of the values that work.
    fn names() -> Vec<&'static str> {
        Self::EVERY
            .iter()
            .filter(|value| value.works().is_some())
            .map(|value| value.word())
            .collect()
    }
}

impl Offered for Scheduler {
    const WHAT: &'static str = "scheduler";
    const DEFINITION: &'static str = "Scheduler";
    type Works = valid::Scheduler;
    const EVERY: &'static [Self] = &Self::ALL;

    fn word(self) -> &'static str {
        self.name()
    }

    fn works(self) -> Option<valid::Scheduler> {
        Some(match self {
            Self::Rr => valid::Scheduler::Rr,
            Self::Wrr => valid::Scheduler::Wrr,
            Self::Swrr => valid::Scheduler::Swrr,
            Self::Lc => valid::Scheduler::Lc,
            Self::Wlc => valid::Scheduler::Wlc,
            Self::P2c => valid::Scheduler::P2c,
            Self::Sed => valid::Scheduler::Sed,
            Self::Nq => valid::Scheduler::Nq,
            // Their settings have keys of their own.
            Self::Sh => valid::Scheduler::Sh(valid::HashFlags::default()),
            Self::Dh => valid::Scheduler::Dh,
            Self::Mh => valid::Scheduler::Mh(valid::HashFlags::default(), valid::Maglev::default()),
            Self::Lblc => valid::Scheduler::Lblc,
            Self::Lblcr => valid::Scheduler::Lblcr,
            Self::Fo => valid::Scheduler::Fo,
            Self::Ovf => valid::Scheduler::Ovf,
        })
    }
}

impl Offered for Forward {
    const WHAT: &'static str = "forwarding method";
    const DEFINITION: &'static str = "Forward";
    type Works = valid::Forward;
    const EVERY: &'static [Self] = &Self::ALL;

    fn word(self) -> &'static str {
        self.name()
    }

    fn works(self) -> Option<valid::Forward> {
        match self {
            Self::Dr => Some(valid::Forward::Direct),
            Self::Nat => Some(valid::Forward::Nat),
            Self::Tunnel => Some(valid::Forward::Tunnel),
            Self::FullNat => None,
        }
    }
}

impl Offered for Protocol {
    const WHAT: &'static str = "protocol";
    const DEFINITION: &'static str = "Protocol";
    type Works = valid::Protocol;
    const EVERY: &'static [Self] = &Self::ALL;

    fn word(self) -> &'static str {
        self.name()
    }

    fn works(self) -> Option<valid::Protocol> {
        Some(match self {
            Self::Tcp => valid::Protocol::Tcp,
            Self::Udp => valid::Protocol::Udp,
            Self::Sctp => valid::Protocol::Sctp,
        })
    }
}

impl Offered for TunnelType {
    const WHAT: &'static str = "tunnel type";
    const DEFINITION: &'static str = "TunnelType";
    type Works = valid::Tunnel;
    const EVERY: &'static [Self] = &Self::ALL;

    fn word(self) -> &'static str {
        self.name()
    }

    fn works(self) -> Option<valid::Tunnel> {
        Some(match self {
            Self::Ipip => valid::Tunnel::Ipip,
            // Checksums and ports have keys of their own.
            Self::Gre => valid::Tunnel::Gre { checksum: false },
            Self::Gue => valid::Tunnel::Gue {
                port: DEFAULT_GUE_PORT,
                checksum: false,
            },
        })
    }
}

/// The enumerations of which a version may carry a part.
macro_rules! offered {
    ($($offered:ident),+) => {
        /// The names of a schema definition's values that work, if some may not.
        pub(super) fn names(definition: &str) -> Option<Vec<&'static str>> {
            match definition {
                $($offered::DEFINITION => Some($offered::names()),)+
                _ => None,
            }
        }

        fn trim_all_names(schema: &mut Json) {
            $(trim_names::<$offered>(schema);)+
        }
    };
}

offered!(Scheduler, Forward, Protocol, TunnelType);

/// Whether a property of a schema definition works.
pub(super) fn key(definition: &str, property: &str) -> bool {
    !KEYS_OF_LATER.contains(&(definition, property))
}

/// Takes out of a schema of the whole format what this version does not carry.
pub(super) fn trim(schema: &mut Json) {
    for (definition, property) in KEYS_OF_LATER {
        if let Some(properties) = schema.pointer_mut(&format!("/$defs/{definition}/properties"))
            && let Some(properties) = properties.as_object_mut()
        {
            properties.remove(*property);
        }
    }
    trim_all_names(schema);
    drop_nulls(schema);
    drop_unused(schema);
}

fn trim_names<E: Offered>(schema: &mut Json) {
    let works = |name: &Json| name.as_str().is_some_and(|name| E::names().contains(&name));
    let Some(definition) = schema.pointer_mut(&format!("/$defs/{}", E::DEFINITION)) else {
        return;
    };
    if let Some(names) = definition.get_mut("enum").and_then(Json::as_array_mut) {
        names.retain(works);
    }
}

/// `null` never stands for "left out" in this format, as an empty value is too often a slip.
fn drop_nulls(schema: &mut Json) {
    match schema {
        Json::Object(object) => {
            if let Some(Json::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Json::Array(options)) = object.get_mut("anyOf") {
                options.retain(|option| option.get("type").is_none_or(|name| name != "null"));
                if let [Json::Object(only)] = options.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            if object.get("default").is_some_and(Json::is_null) {
                object.remove("default");
            }
            object.values_mut().for_each(drop_nulls);
        }
        Json::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Definitions that nothing refers to any more.
fn drop_unused(schema: &mut Json) {
    loop {
        let text = schema.to_string();
        let Some(definitions) = schema.get_mut("$defs").and_then(Json::as_object_mut) else {
            return;
        };
        let before = definitions.len();
        definitions.retain(|name, _| text.contains(&format!("\"#/$defs/{name}\"")));
        if definitions.len() == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_dataplane::flow;
    use plimsoll_dataplane::spec::forward::ForwardMethod;
    use plimsoll_dataplane::spec::scheduler::SchedulerKind;

    use super::*;

    #[test]
    fn what_is_offered_is_what_the_data_plane_has_by_the_same_names() {
        assert_eq!(Scheduler::names(), SchedulerKind::NAMES);
        assert_eq!(
            Protocol::names(),
            flow::Protocol::ALL.map(flow::Protocol::name)
        );
        assert_eq!(
            Forward::names(),
            ForwardMethod::ALL.map(ForwardMethod::name)
        );
        let works = Scheduler::ALL.map(|one| one.works().map(valid::Scheduler::name));
        assert_eq!(works, Scheduler::ALL.map(|one| Some(one.name())));
        let works = Protocol::ALL.map(|one| one.works().map(valid::Protocol::name));
        assert_eq!(works, Protocol::ALL.map(|one| Some(one.name())));
    }

    #[test]
    fn a_name_in_the_file_is_a_name_everywhere() {
        fn holds<E: Offered + serde::Serialize>() {
            for value in E::EVERY {
                assert_eq!(serde_json::to_value(value).unwrap(), value.word());
            }
        }
        holds::<Scheduler>();
        holds::<Forward>();
        holds::<Protocol>();
        holds::<TunnelType>();
    }
}
