//! What systemd is told (sd_notify): ready, reloading, stopping, alive.
//! Without systemd all of it does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

fn tell(states: &[NotifyState<'_>]) {
    // Whoever started this process may have gone; packets are forwarded all the same.
    let _ = sd_notify::notify(states);
}

/// Packets are forwarded, with the configuration of this generation.
pub(super) fn ready(generation: u64) {
    let status = format!("forwarding, generation {generation}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Until the next [`ready`].
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// Until the end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// A sign of life.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Half the time that systemd waits for a sign of life, if it does.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}
