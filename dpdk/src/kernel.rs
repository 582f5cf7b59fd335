//! The few things asked of the kernel about an interface that a DPDK device borrows from it.
//! Addresses and routes are not set here: the kernel should have none on such an interface.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The flags that are used here, in the width that the kernel's request has.
#[expect(clippy::cast_possible_truncation, reason = "0x1 and 0x40")]
const UP: i16 = libc::IFF_UP as i16;
#[expect(clippy::cast_possible_truncation, reason = "0x1 and 0x40")]
const RUNNING: i16 = libc::IFF_RUNNING as i16;

/// The number of the kernel's interface `name`, or `None` if there is no such interface in this
/// network namespace.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a C string that lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// Whether there is an interface of this number in this network namespace, as far as can be found out: without a
/// descriptor to ask by, none is said to be gone. Numbers are not used again.
pub(crate) fn exists(index: u32) -> bool {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the array has room for the longest name.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    !found.is_null() || io::Error::last_os_error().raw_os_error() != Some(libc::ENXIO)
}

/// Switches the interface on, if it is not.
pub(crate) fn bring_up(index: u32) -> io::Result<()> {
    let mut request = Request::new(index)?;
    let flags = request.flags()?;
    if flags & UP == 0 {
        request.set_flags(flags | UP)?;
    }
    Ok(())
}

/// Whether the interface is on and has a carrier.
pub(crate) fn is_running(index: u32) -> io::Result<bool> {
    let both = UP | RUNNING;
    Ok(Request::new(index)?.flags()? & both == both)
}

/// The interface's MTU, in bytes; 65535 where it is larger (a loopback's).
pub(crate) fn mtu(index: u32) -> io::Result<u16> {
    let mut request = Request::new(index)?;
    request.call(libc::SIOCGIFMTU)?;
    // SAFETY: SIOCGIFMTU has written this member of the union.
    let bytes = unsafe { request.body.ifr_ifru.ifru_mtu };
    Ok(u16::try_from(bytes).unwrap_or(u16::MAX))
}

struct Request {
    socket: OwnedFd,
    body: libc::ifreq,
}

impl Request {
    fn new(index: u32) -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let socket =
            unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just opened and is nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: `ifreq` is plain data, for which zero bytes are a value.
        let mut body: libc::ifreq = unsafe { std::mem::zeroed() };
        // SAFETY: the array has room for the longest name, IF_NAMESIZE bytes.
        if unsafe { libc::if_indextoname(index, body.ifr_name.as_mut_ptr()) }.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { socket, body })
    }

    fn flags(&mut self) -> io::Result<i16> {
        self.call(libc::SIOCGIFFLAGS)?;
        // SAFETY: SIOCGIFFLAGS has written this member of the union.
        Ok(unsafe { self.body.ifr_ifru.ifru_flags })
    }

    fn set_flags(&mut self, flags: i16) -> io::Result<()> {
        self.body.ifr_ifru.ifru_flags = flags;
        self.call(libc::SIOCSIFFLAGS)
    }

    fn call(&mut self, request: libc::Ioctl) -> io::Result<()> {
        // SAFETY: all three requests take an `ifreq`, which lives through the call.
        let status = unsafe {
            libc::ioctl(
                self.socket.as_raw_fd(),
                request,
                std::ptr::from_mut(&mut self.body),
            )
        };
        if status == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
