//! What the JSON Schema offers, and that the reference configuration has it all.

use std::collections::BTreeSet;

use plimsoll_control::config;

use super::samples;

#[test]
fn reference_yaml_names_every_key_of_the_schema() {
    fn written(value: &serde_yaml::Value, keys: &mut BTreeSet<String>) {
        match value {
            serde_yaml::Value::Mapping(map) => {
                for (key, value) in map {
                    keys.insert(key.as_str().unwrap().to_owned());
                    written(value, keys);
                }
            }
            serde_yaml::Value::Sequence(items) => items.iter().for_each(|item| written(item, keys)),
            _ => {}
        }
    }
    let (_, text) = samples()
        .into_iter()
        .find(|(path, _)| path.ends_with("reference.yaml"))
        .unwrap();
    let mut keys = BTreeSet::new();
    written(&serde_yaml::from_str(&text).unwrap(), &mut keys);
    fn offered(schema: &serde_json::Value, keys: &mut BTreeSet<String>) {
        if let Some(properties) = schema["properties"].as_object() {
            keys.extend(properties.keys().cloned());
            properties.values().for_each(|one| offered(one, keys));
        }
        if let Some(items) = schema.get("items") {
            offered(items, keys);
        }
    }
    let mut wanted = BTreeSet::new();
    offered(&config::schema(), &mut wanted);
    assert_eq!(wanted, keys);
}

#[test]
fn the_schema_offers_what_this_version_carries_and_no_more() {
    let schema = config::schema();
    let service = &schema["properties"]["services"]["items"];
    let names_of = |schema: &serde_json::Value| {
        let choices = schema["oneOf"].as_array().unwrap().iter();
        let names = choices.map(|choice| choice["const"].clone());
        serde_json::Value::from_iter(names)
    };
    let names = |key: &str| names_of(&service["properties"][key]);
    let schedulers = "rr wrr swrr lc wlc p2c sed nq sh dh mh lblc lblcr fo ovf";
    let schedulers: Vec<&str> = schedulers.split(' ').collect();
    assert_eq!(names("scheduler"), serde_json::json!(schedulers));
    assert_eq!(names("forward"), serde_json::json!(["dr", "nat", "tunnel"]));
    assert_eq!(names("protocol"), serde_json::json!(["tcp", "udp", "sctp"]));
    let tunnel = &service["properties"]["tunnel"]["properties"]["type"];
    assert_eq!(names_of(tunnel), serde_json::json!(["ipip", "gre", "gue"]));
    assert!(service["properties"].get("health").is_none());
    assert!(!schema.to_string().contains("null"));
    assert_eq!(service["additionalProperties"], false);
    assert_eq!(service["required"], serde_json::json!(["name"]));
    let weight = &service["properties"]["reals"]["items"]["properties"]["weight"];
    let expected = serde_json::json!({
        "type": "integer", "minimum": 0, "maximum": 0x7fff_ffff, "default": 1,
        "description": "Its share of new sessions; 0 gets none.",
    });
    assert_eq!(*weight, expected);
}

#[test]
fn the_schema_says_what_each_name_means_and_what_a_section_is_by_default() {
    let schema = config::schema();
    let idle = &schema["properties"]["dataplane"]["properties"]["idle"];
    let expected = serde_json::json!([
        {
            "const": "poll",
            "description": "It goes on polling: the least latency, at the price of the whole CPU.",
        },
        { "const": "sleep", "description": "It gives the CPU back until something comes in." },
    ]);
    assert_eq!(idle["oneOf"], expected);
    let service = &schema["properties"]["services"]["items"]["properties"];
    assert_eq!(
        service["on_down"]["oneOf"][2]["description"],
        "They end: the client's next packet begins a session with another real server, which answers as it likes."
    );
    assert_eq!(
        service["scheduler"]["oneOf"][1]["description"],
        "Weighted round robin."
    );
    let flag = &service["scheduler_flags"]["items"]["oneOf"][0];
    assert_eq!(*flag, serde_json::json!({ "const": "sh-fallback" }));
    let expected = serde_json::json!({
        "tcp": "15m", "tcp_fin": "2m", "tcp_time_wait": "2m", "udp": "5m", "sctp": "15m",
    });
    assert_eq!(schema["properties"]["timeouts"]["default"], expected);
    let tunnel = &service["tunnel"];
    assert!(tunnel.get("default").is_none());
    let expected = serde_json::json!({ "socket": "/run/plimsoll/plimsoll.sock", "state": "/var/lib/plimsoll", "drain": "0s", "http": "127.0.0.1:9142" });
    assert_eq!(schema["properties"]["control"]["default"], expected);
}
