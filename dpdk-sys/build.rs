//! Finds libdpdk, compiles `src/shim.c` against it and generates the bindings.
//! It must not fail with a riddle: whatever is missing is named with the package that has it.

use std::env;
use std::io::{self, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::{Command, exit};

const OLDEST: &str = "22.11";

const PACKAGES: &str = "On Debian and Ubuntu: apt-get install libdpdk-dev libclang-dev clang pkg-config\n\
    (The crates `plimsoll-dataplane` and `plimsoll-control` build without any of them.)";

/// What the safe crate calls. Everything else in DPDK stays out of Rust.
const FUNCTIONS: &[&str] = &[
    "fdopen",
    "plim_.*",
    "rte_dev_probe",
    "rte_eal_init",
    "rte_eth_allmulticast_enable",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_rx_intr_ctl_q_get_fd",
    "rte_eth_dev_rx_intr_disable",
    "rte_eth_dev_rx_intr_enable",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_promiscuous_enable",
    "rte_eth_rx_queue_setup",
    "rte_eth_tx_queue_setup",
    "rte_mempool_avail_count",
    "rte_openlog_stream",
    "rte_pktmbuf_pool_create",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_version",
];

/// The libraries that hold them, as far as a release has them (librte_log is younger than 22.11).
/// Drivers are not linked: DPDK loads them from its plugin directory when it starts.
const LIBRARIES: &[&str] = &[
    "rte_eal",
    "rte_ethdev",
    "rte_log",
    "rte_mbuf",
    "rte_mempool",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/shim.h");
    println!("cargo:rerun-if-changed=src/shim.c");

    let dpdk = pkg_config::Config::new()
        .atleast_version(OLDEST)
        .cargo_metadata(false)
        .probe("libdpdk")
        .unwrap_or_else(|error| fail(&format!("libdpdk >= {OLDEST} was not found.\n{error}")));
    let flags = compiler_flags();

    let mut shim = cc::Build::new();
    shim.file("src/shim.c").warnings(true).opt_level(3);
    for flag in &flags {
        shim.flag(flag);
    }
    if let Err(error) = shim.try_compile("plimsoll_dpdk_shim") {
        fail(&format!(
            "src/shim.c does not compile against libdpdk {}.\n{error}",
            dpdk.version
        ));
    }

    for path in &dpdk.link_paths {
        println!("cargo:rustc-link-search=native={}", path.display());
    }
    for library in dpdk
        .libs
        .iter()
        .filter(|library| LIBRARIES.contains(&library.as_str()))
    {
        println!("cargo:rustc-link-lib=dylib={library}");
    }

    generate_bindings(&flags);
}

/// DPDK's headers need more than include paths: `-march` for the vector types of its inline
/// functions, and `-include rte_config.h`.
fn compiler_flags() -> Vec<String> {
    let tool = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    match Command::new(&tool).args(["--cflags", "libdpdk"]).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        Ok(output) => fail(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => fail(&format!("{tool} cannot be run: {error}")),
    }
}

fn generate_bindings(flags: &[String]) {
    let mut builder = bindgen::Builder::default()
        .header("src/shim.h")
        .clang_args(flags)
        .allowlist_type("plim_.*")
        .allowlist_recursively(false)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .generate_comments(false)
        .layout_tests(false)
        .merge_extern_blocks(true);
    // Rust only ever holds pointers to these, so it need not know what is in them.
    for name in [
        "rte_mbuf",
        "rte_mempool",
        "rte_eth_rxconf",
        "rte_eth_txconf",
        "FILE",
    ] {
        builder = builder.blocklist_type(name).raw_line(format!(
            "#[repr(C)] pub struct {name} {{ _private: [u8; 0] }}"
        ));
    }
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }

    // bindgen opens libclang when it first needs it and panics when there is none.
    let usual = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| builder.generate()));
    panic::set_hook(usual);
    let bindings = match outcome {
        Ok(Ok(bindings)) => bindings,
        Ok(Err(error)) => fail(&format!("bindgen cannot read DPDK's headers: {error}")),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("it gave no reason");
            fail(&format!("libclang cannot be loaded.\n{message}"))
        }
    };

    let Some(directory) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        fail("OUT_DIR is not set: build.rs is to be run by cargo")
    };
    if let Err(error) = bindings.write_to_file(directory.join("bindings.rs")) {
        fail(&format!("the bindings cannot be written: {error}"));
    }
}

fn fail(reason: &str) -> ! {
    let _ = writeln!(
        io::stderr(),
        "\nplimsoll-dpdk-sys cannot be built: {reason}\n{PACKAGES}\n"
    );
    exit(1)
}
