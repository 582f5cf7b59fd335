//! Reloads and plans of reloads: the file is read on a thread of its own, in turns.
//! What is done with it then is `running.rs`'s.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Shared, lock};
use crate::capabilities;
use crate::config::{self, Diagnostics, Loaded};
use crate::report::{Plan, Reload};

/// Reads the file again on a thread of its own and puts it in force, all of it or nothing: a file of a
/// million services takes seconds, in which requests are answered and the watchdog is fed. Reloads
/// take turns, so that none puts in force what an earlier one found.
pub async fn reload(shared: &Shared, colour: bool) -> Reload {
    let (file, turns) = file_and_turns(shared);
    let _turn = turns.lock().await;
    let path = file.clone();
    let read = aside(&file, move || config::load(&path)).await;
    lock(shared).put_or_report(read, colour)
}

/// What a reload would change, of the daemon's own file or of a text that somebody has; nothing is changed.
pub async fn plan(shared: &Shared, text: Option<(String, String)>, colour: bool) -> Plan {
    let (file, turns) = file_and_turns(shared);
    // As much memory as a reload takes, so no more of them at once.
    let _turn = turns.lock().await;
    let (name, path) = (file.display().to_string(), file.clone());
    let (name, read) = match text {
        None => (name, aside(&file, move || config::load(&path)).await),
        Some((name, text)) => {
            let title = name.clone();
            (
                name,
                aside(&file, move || config::parse(&title, text)).await,
            )
        }
    };
    match read {
        Ok(loaded) => lock(shared).plan(name, &loaded, colour),
        Err(errors) => Plan::invalid(name, &errors, colour),
    }
}

fn file_and_turns(shared: &Shared) -> (PathBuf, Arc<tokio::sync::Mutex<()>>) {
    let running = lock(shared);
    (
        running.parts.file.clone(),
        Arc::clone(&running.reload_turns),
    )
}

/// Has a configuration read on a thread of its own.
async fn aside(
    file: &Path,
    read: impl FnOnce() -> Result<Loaded, Diagnostics> + Send + 'static,
) -> Result<Loaded, Diagnostics> {
    let (tell, told) = tokio::sync::oneshot::channel();
    // Not by `spawn_blocking`, which panics where the system has no thread to give.
    let thread = std::thread::Builder::new().name("reload".to_owned());
    let thread = thread.spawn(move || {
        capabilities::keep_reading();
        // Nobody listens any more if the process is about to end.
        let _ = tell.send(read());
    });
    match thread {
        Ok(_) => told
            .await
            .unwrap_or_else(|gone| Err(config::unread(file, &gone))),
        Err(error) => Err(config::unread(file, &error)),
    }
}
