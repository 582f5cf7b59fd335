//! [`on_fatal_signal`]: a last word before a signal such as SIGSEGV ends the process.
//! It saves nobody: the process ends by the signal as it would without.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

/// Those that the process's own code ends it with.
const SIGNALS: [libc::c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
];

static LAST_WORD: OnceLock<fn(i32)> = OnceLock::new();

/// Has `last_word` called, with the signal's number, in the thread that one of the fatal signals comes to, before it ends
/// the process. It may be in the middle of anything, so `last_word` must allocate nothing, take no lock, and need
/// little of the stack (a few KiB).
///
/// # Errors
/// When the system refuses.
pub fn on_fatal_signal(last_word: fn(i32)) -> io::Result<()> {
    if LAST_WORD.set(last_word).is_err() {
        return Ok(());
    }
    // SAFETY: plain data, for which zero bytes are a value: an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handle as *const () as usize;
    // On the stack that Rust gives each thread for this, as the thread's own may be what is used up. The second time
    // the signal does what it always does.
    action.sa_flags = libc::SA_ONSTACK | libc::SA_RESETHAND;
    for signal in SIGNALS {
        // SAFETY: `handle` does what its caller promised for it.
        if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn handle(signal: libc::c_int) {
    if let Some(last_word) = LAST_WORD.get() {
        last_word(signal);
    }
    // The instruction is tried again, or abort() goes on. What somebody else has sent would not come again.
    // SAFETY: may be called in a signal's handler; the signal is blocked until this returns.
    unsafe { libc::raise(signal) };
}
