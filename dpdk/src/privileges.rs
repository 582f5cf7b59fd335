//! Capabilities of the threads that DPDK has started: they belong to each thread, and only it can give them up.
//! What the calling thread keeps is its own business.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long the threads have.
const PATIENCE: Duration = Duration::from_secs(2);

/// Threads that have none any more.
static DONE: AtomicUsize = AtomicUsize::new(0);
/// Threads whom the kernel would not let.
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// The kernel's header of capset(2), version 3.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
const VERSION_3: u32 = 0x2008_0522;

/// Takes all capabilities from all threads of this process but the calling one, which interrupts each of them
/// for a moment (as libcap's libpsx does). Threads that are started meanwhile keep what their starter has.
///
/// # Errors
/// When a thread cannot be told, does not answer, or the kernel refuses.
pub fn drop_capabilities_of_other_threads() -> io::Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    DONE.store(0, Ordering::SeqCst);
    FAILED.store(0, Ordering::SeqCst);
    // The last of the real-time signals; `net_tap` takes the first that is free.
    let signal = libc::SIGRTMAX();
    let before = replace_action(signal, &action())?;
    // A thread that has been told and has not answered yet still will. By the signal's usual action, that would end
    // the process; so this one stays where anything went wrong.
    tell_others(signal).and_then(wait_for)?;
    replace_action(signal, &before).map(drop)
}

/// What a thread does when it is told.
extern "C" fn give_up(_signal: libc::c_int) {
    // SAFETY: reads and writes a variable of the calling thread.
    let errno = unsafe { *libc::__errno_location() };
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    // Two times effective, permitted and inheritable, 32 bits each.
    let none = [0_u32; 6];
    // SAFETY: a system call that reads both structures, which outlive it; it may be made in a signal's handler.
    let status = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    if status != 0 {
        FAILED.fetch_add(1, Ordering::SeqCst);
    }
    DONE.fetch_add(1, Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn action() -> libc::sigaction {
    // SAFETY: plain data, for which zero bytes are a value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = give_up as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    action
}

fn replace_action(signal: libc::c_int, action: &libc::sigaction) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: `give_up` makes only calls that a handler may; a former action is put back as it was.
    if unsafe { libc::sigaction(signal, ptr::from_ref(action), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sigaction has written it.
    Ok(unsafe { before.assume_init() })
}

/// Sends the signal to every other thread, and says to how many.
fn tell_others(signal: libc::c_int) -> io::Result<usize> {
    // SAFETY: these two take nothing and cannot fail.
    let (process, own) = unsafe { (libc::getpid(), libc::gettid()) };
    let mut told = 0;
    for entry in fs::read_dir("/proc/self/task")? {
        let name = entry?.file_name();
        let Some(thread) = name
            .to_str()
            .and_then(|name| name.parse::<libc::pid_t>().ok())
        else {
            continue;
        };
        if thread == own {
            continue;
        }
        // SAFETY: numbers only; a thread that has ended meanwhile is not found.
        if unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) } == 0 {
            told += 1;
        } else {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::ESRCH) {
                return Err(error);
            }
        }
    }
    Ok(told)
}

fn wait_for(told: usize) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while DONE.load(Ordering::SeqCst) < told {
        if Instant::now() >= end {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "a thread does not answer",
            ));
        }
        thread::sleep(Duration::from_millis(1));
    }
    if FAILED.load(Ordering::SeqCst) > 0 {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    Ok(())
}
