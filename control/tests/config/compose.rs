//! The samples that other programs read: they are YAML, and fit what the daemon does by default.
//! Whether those programs take every key is not tried here.

use std::fs;
use std::path::Path;

use plimsoll_control::config::file::DEFAULT_SOCKET;
use serde_yaml::Value;

fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../conf")
        .join(name);
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn prometheus_asks_where_the_daemon_answers_by_default() {
    let http = super::valid(super::SMALL).start().http.unwrap();
    let prometheus = sample("prometheus.yml");
    let target = &prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0];
    assert_eq!(target.as_str().unwrap(), http.to_string());
}

#[test]
fn containers_share_the_host_s_network_files_and_socket() {
    let compose = sample("compose.yaml");
    let services = &compose["services"];
    for name in ["plimsoll", "prometheus"] {
        assert_eq!(services[name]["network_mode"].as_str(), Some("host"));
    }
    let volumes = |name: &str| -> Vec<String> {
        let list = services[name]["volumes"].as_sequence().unwrap();
        list.iter()
            .map(|volume| volume.as_str().unwrap().to_owned())
            .collect()
    };
    let run = Path::new(DEFAULT_SOCKET).parent().unwrap().display();
    assert!(volumes("plimsoll").contains(&format!("{run}:{run}")));
    let of_prometheus = volumes("prometheus");
    let (own, inside) = of_prometheus[0].split_once(':').unwrap();
    assert_eq!(own, "./prometheus.yml");
    let inside = inside.trim_end_matches(":ro");
    let command = services["prometheus"]["command"].as_sequence().unwrap();
    let config = format!("--config.file={inside}");
    assert!(command.iter().any(|word| word.as_str() == Some(&config)));
}
