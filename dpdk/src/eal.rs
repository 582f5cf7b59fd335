//! [`Eal`]: DPDK started in this process, once, with the memory that the configuration asks for.
//! It never stops DPDK: buffers and queues rely on its memory until the process ends.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::device;
use crate::messages;

/// Megabytes given to DPDK when the configuration says nothing.
const DEFAULT_SIZE_MIB: u32 = 512;

/// What packet memory is made of, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Memory {
    /// Hugepages where enough of them are free, else ordinary memory.
    #[default]
    Auto,
    /// Hugepages, or an error.
    Huge,
    /// Ordinary memory.
    NoHuge,
}

/// What packet memory is made of, in fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKind {
    /// Hugepages.
    Hugepages,
    /// Ordinary pages: works everywhere, costs TLB misses, and real NICs cannot reach it without an
    /// IOMMU.
    Ordinary,
}

/// How DPDK is started.
#[derive(Debug, Clone, Default)]
pub struct EalConfig {
    /// The program's name in DPDK's messages.
    pub program: String,
    /// What packet memory is made of.
    pub memory: Memory,
    /// How much of it, in MiB; 512 by default.
    pub size_mib: Option<u32>,
    /// Given to DPDK as they are, after ours.
    pub extra_args: Vec<String>,
    /// The devices that ports will be opened on, as configured. The PCI addresses among them, and in the
    /// arguments of virtual ones, are the only PCI devices that DPDK may touch; without any, it does not look at PCI
    /// at all, unless `extra_args` allow or block some.
    pub devices: Vec<String>,
}

/// DPDK cannot be started, or not be used as asked.
#[derive(Debug, thiserror::Error)]
pub enum EalError {
    /// It was started before in this process.
    #[error("DPDK can be started only once in a process")]
    AlreadyStarted,
    /// An argument has a NUL byte.
    #[error("dataplane.eal_args: `{argument}` has a NUL byte")]
    Argument {
        /// As given.
        argument: String,
    },
    /// Too few free hugepages.
    #[error(
        "dataplane.memory: {wanted_mib} MiB of hugepages are asked for and {free_mib} MiB are free; \
         reserve more (`sysctl vm.nr_hugepages={pages}` for pages of 2 MiB), lower \
         dataplane.memory.size, or set dataplane.memory.hugepages to auto"
    )]
    NoHugepages {
        /// As configured.
        wanted_mib: u64,
        /// In the system.
        free_mib: u64,
        /// 2 MiB pages that would do.
        pages: u64,
    },
    /// DPDK's log cannot be captured.
    #[error("DPDK's messages cannot be captured: {0}")]
    Messages(#[source] io::Error),
    /// DPDK refused.
    #[error("DPDK does not start: {reason}{advice}{messages}")]
    Start {
        /// Its error number in words.
        reason: String,
        /// What to do, or nothing.
        advice: &'static str,
        /// What it logged, or nothing.
        messages: String,
    },
    /// This thread is known to DPDK already.
    #[error("this thread is registered with DPDK already")]
    ThreadRegistered,
    /// No more threads can be registered.
    #[error("this thread cannot be registered with DPDK: {0}; it knows at most {limit} threads", limit = dpdk_sys::PLIM_MAX_LCORES)]
    Thread(String),
}

/// Proof that DPDK runs in this process.
#[derive(Debug)]
pub struct Eal {
    memory: MemoryKind,
    size_mib: u32,
}

static STARTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether DPDK has given this thread a number.
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

impl Eal {
    /// Starts DPDK. The calling thread becomes its main thread, and keeps its CPU affinity, which
    /// DPDK's helper threads inherit: set it to the control CPU before, so that they stay off the
    /// workers' CPUs.
    ///
    /// Memory is private to the process (`--in-memory`, or `--no-shconf` without hugepages): no files are left behind, and any number of
    /// processes run side by side. Devices that are not PCI are added by [`crate::Port::open`].
    ///
    /// With hugepages DPDK may remark that no hugetlbfs is mounted; none is needed.
    ///
    /// # Errors
    /// [`EalError`], with what DPDK said. After most of them DPDK cannot be tried again in this
    /// process.
    pub fn init(config: EalConfig) -> Result<Self, EalError> {
        let size_mib = config.size_mib.unwrap_or(DEFAULT_SIZE_MIB);
        let free_mib = free_hugepages_mib(Path::new("/sys/kernel/mm/hugepages"));
        let memory = choose_memory(config.memory, u64::from(size_mib), free_mib)?;
        let cpus = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let arguments = arguments(&config, memory, size_mib, allowed_cpus(&cpus));
        let arguments = arguments
            .into_iter()
            .map(|argument| {
                CString::new(argument.clone()).map_err(|_| EalError::Argument { argument })
            })
            .collect::<Result<Vec<_>, _>>()?;

        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(EalError::AlreadyStarted);
        }
        messages::capture().map_err(EalError::Messages)?;
        // DPDK moves its arguments about and keeps pointers to some, so they are never freed.
        let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
        let count = i32::try_from(pointers.len()).unwrap_or(i32::MAX);
        pointers.push(std::ptr::null_mut());
        // SAFETY: `count` C strings and a null pointer, all of which live as long as the process;
        // `STARTED` lets only one thread come here, once.
        let status = unsafe { dpdk_sys::rte_eal_init(count, pointers.leak().as_mut_ptr()) };
        if status < 0 {
            // SAFETY: reads a variable of the calling thread.
            let errno = unsafe { dpdk_sys::plim_errno() };
            return Err(EalError::Start {
                reason: io::Error::from_raw_os_error(errno).to_string(),
                advice: advice(errno),
                messages: messages::quoted(),
            });
        }
        REGISTERED.set(true);
        Ok(Self { memory, size_mib })
    }

    /// What packet memory is made of.
    #[must_use]
    pub fn memory_kind(&self) -> MemoryKind {
        self.memory
    }

    /// MiB given to DPDK at the start.
    #[must_use]
    pub fn memory_mib(&self) -> u32 {
        self.size_mib
    }

    /// What DPDK has logged since the last call or the last error, oldest first. It keeps only about
    /// 64 KiB, so a daemon takes them every second or so and passes them to its own log.
    #[must_use]
    pub fn take_messages(&self) -> Vec<String> {
        messages::take()
    }

    /// DPDK's version, such as `DPDK 22.11.11`.
    #[must_use]
    pub fn version(&self) -> String {
        // SAFETY: DPDK returns a static C string.
        unsafe { CStr::from_ptr(dpdk_sys::rte_version()) }
            .to_string_lossy()
            .into_owned()
    }

    /// Ticks of [`cycles`] per second.
    #[must_use]
    pub fn cycles_per_second(&self) -> u64 {
        // SAFETY: reads a variable that DPDK sets when it starts.
        unsafe { dpdk_sys::plim_tsc_hz() }
    }
}

/// The CPU's time stamp counter: for measuring how busy a worker is.
#[inline]
#[must_use]
pub fn cycles() -> u64 {
    // SAFETY: reads a register.
    unsafe { dpdk_sys::plim_tsc() }
}

/// While it lives, its thread has a number in DPDK and with it a cache in every pool.
#[derive(Debug)]
pub struct RegisteredThread {
    /// It must be dropped by the thread that made it.
    _thread: PhantomData<*const ()>,
}

/// Makes the calling thread known to DPDK, so that it allocates and frees packet buffers through a
/// cache of its own. Workers call it once; without it everything works, but slower.
///
/// The thread's CPU affinity should be set before.
///
/// # Errors
/// [`EalError`], if DPDK is not started or knows this thread or too many threads already.
pub fn register_thread() -> Result<RegisteredThread, EalError> {
    if REGISTERED.get() {
        return Err(EalError::ThreadRegistered);
    }
    // SAFETY: may be called at any time; DPDK refuses before it is started, and this thread has no
    // number yet (`REGISTERED`).
    if unsafe { dpdk_sys::rte_thread_register() } != 0 {
        // SAFETY: reads a variable of the calling thread.
        let errno = unsafe { dpdk_sys::plim_errno() };
        return Err(EalError::Thread(
            io::Error::from_raw_os_error(errno).to_string(),
        ));
    }
    REGISTERED.set(true);
    Ok(RegisteredThread {
        _thread: PhantomData,
    })
}

impl Drop for RegisteredThread {
    fn drop(&mut self) {
        // SAFETY: this thread was registered by `register_thread`; the guard is not `Send`.
        unsafe { dpdk_sys::rte_thread_unregister() }
        REGISTERED.set(false);
    }
}

fn choose_memory(asked: Memory, wanted_mib: u64, free_mib: u64) -> Result<MemoryKind, EalError> {
    match asked {
        Memory::NoHuge => Ok(MemoryKind::Ordinary),
        Memory::Auto if free_mib < wanted_mib => Ok(MemoryKind::Ordinary),
        Memory::Huge if free_mib < wanted_mib => Err(EalError::NoHugepages {
            wanted_mib,
            free_mib,
            pages: wanted_mib.div_ceil(2),
        }),
        Memory::Auto | Memory::Huge => Ok(MemoryKind::Hugepages),
    }
}

/// Free hugepages of all sizes, from the kernel's `hugepages-<size>kB/free_hugepages` files.
fn free_hugepages_mib(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let size_kib: u64 = name
                .to_str()?
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()?;
            let free = fs::read_to_string(entry.path().join("free_hugepages")).ok()?;
            Some(size_kib.saturating_mul(free.trim().parse().ok()?))
        })
        .sum::<u64>()
        >> 10
}

/// The list of CPUs, such as `0-3,5`, on which `/proc/self/status` says the thread may run.
fn allowed_cpus(status: &str) -> Option<&str> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(line.trim()).filter(|list| !list.is_empty())
}

fn arguments(
    config: &EalConfig,
    memory: MemoryKind,
    size_mib: u32,
    cpus: Option<&str>,
) -> Vec<String> {
    let given = |names: &[&str]| {
        config.extra_args.iter().any(|argument| {
            let name = argument.split('=').next().unwrap_or_default();
            names.contains(&name)
        })
    };
    let program = if config.program.is_empty() {
        "plimsoll"
    } else {
        &config.program
    };
    let mut arguments = vec![program.to_owned()];
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));

    // Its greetings are not news; warnings and errors are.
    add(&[
        "--no-telemetry",
        "--file-prefix=plimsoll",
        "--log-level=lib.*:notice",
    ]);
    // Both without files: DPDK refuses --in-memory along with --no-huge, which needs it less, as its
    // memory is one anonymous file anyway.
    match memory {
        MemoryKind::Hugepages => add(&["--in-memory", "--single-file-segments"]),
        MemoryKind::Ordinary => add(&["--no-huge", "--no-shconf"]),
    }
    if !given(&["-m", "--socket-mem", "--numa-mem"]) {
        add(&["-m", &size_mib.to_string()]);
    }
    // One thread, the caller's, which floats over the CPUs that it may use; workers are ours.
    if !given(&["-l", "-c", "--lcores"]) {
        add(&[
            "--lcores",
            &cpus.map_or_else(|| "0".to_owned(), |cpus| format!("0@({cpus})")),
        ]);
    }
    let pci: Vec<String> = config
        .devices
        .iter()
        .flat_map(|device| pci_devices(device))
        .collect();
    // Whoever allows or blocks devices himself, or wants the bus, knows what he does.
    let own = ["-a", "--allow", "-b", "--block", "--no-pci"];
    if pci.is_empty() && !given(&own) {
        add(&["--no-pci"]);
        if !given(&["--iova-mode"]) {
            add(&["--iova-mode=va"]);
        }
    }
    for device in &pci {
        add(&["-a", device]);
    }
    arguments.extend(config.extra_args.iter().cloned());
    arguments
}

/// What DPDK is to allow for this device: the PCI device itself with its arguments, or those among a virtual device's
/// arguments (the members of a `net_bonding` or `net_failsafe`).
fn pci_devices(device: &str) -> Vec<String> {
    if let Some(address) = device::pci_address(device) {
        let arguments = device.split_once(',').map(|(_, arguments)| arguments);
        return vec![arguments.map_or_else(|| address.clone(), |rest| format!("{address},{rest}"))];
    }
    let in_address = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    device
        .split(|c: char| !in_address(c))
        .filter_map(device::pci_address)
        .collect()
}

fn advice(errno: i32) -> &'static str {
    match errno {
        libc::EACCES | libc::EPERM => {
            " (run as root or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_IPC_LOCK, and see that hugepages \
             may be used)"
        }
        libc::ENOMEM => " (lower dataplane.memory.size, or reserve more hugepages)",
        libc::EINVAL => " (is one of dataplane.eal_args wrong?)",
        libc::ENODEV => " (does a device in dataplane.ports or dataplane.eal_args not exist?)",
        libc::ENOTSUP => " (this CPU or a device is not supported by the installed DPDK)",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
