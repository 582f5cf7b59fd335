//! Capabilities of a process's other threads. In a process of its own, whose threads lose theirs.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::mpsc;
use std::thread;

use plimsoll_dpdk::drop_capabilities_of_other_threads;

/// Has the calling thread hold back the signal by which threads are told, or take it again.
fn mask(how: libc::c_int) {
    // SAFETY: plain data, which the calls fill in, and the calling thread's own mask.
    let status = unsafe {
        let mut signals = MaybeUninit::zeroed().assume_init();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGRTMAX());
        libc::pthread_sigmask(how, &raw const signals, ptr::null_mut())
    };
    assert_eq!(status, 0);
}

#[test]
fn a_thread_that_takes_the_signal_too_late_does_not_end_the_process() {
    let (holds_it, waits) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let late = thread::spawn(move || {
        mask(libc::SIG_BLOCK);
        holds_it.send(()).unwrap();
        goes_on.recv().unwrap();
        mask(libc::SIG_UNBLOCK);
    });
    waits.recv().unwrap();
    let error = drop_capabilities_of_other_threads().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    go_on.send(()).unwrap();
    late.join().unwrap();
    // The next time all of them are told.
    drop_capabilities_of_other_threads().unwrap();
}
