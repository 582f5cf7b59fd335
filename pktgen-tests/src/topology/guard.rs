//! The list of everything that exists outside this process on its behalf, and how to take it down.
//!
//! Must not be bypassed: a namespace, a process or a directory that is not on the list survives a Ctrl-C.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Result};

/// Everything that is named by us begins so, followed by the owner's process id.
const PREFIX: &str = "plim-";
/// Names the owner in the environment of each process that is started, whatever namespace it is in.
const OWNER: &str = "PLIMSOLL_LAB_OWNER";

struct Live {
    closing: bool,
    namespaces: Vec<String>,
    processes: Vec<u32>,
    directories: Vec<PathBuf>,
    next: u32,
}

static LIVE: Mutex<Live> = Mutex::new(Live {
    closing: false,
    namespaces: Vec::new(),
    processes: Vec::new(),
    directories: Vec::new(),
    next: 0,
});
static HANDLER: Once = Once::new();
/// The exit status after a signal: 130 unless the signal is the way to end this program.
static SIGNAL_STATUS: AtomicI32 = AtomicI32::new(130);

fn live() -> MutexGuard<'static, Live> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The list, for adding to it; fails once a signal has begun to take everything down.
fn open() -> Result<MutexGuard<'static, Live>> {
    let live = live();
    if live.closing {
        Err(Error::Interrupted)
    } else {
        Ok(live)
    }
}

/// A prefix for the names of one topology, unique on this machine.
pub(super) fn fresh_prefix() -> Result<String> {
    let mut live = open()?;
    live.next += 1;
    Ok(format!("{PREFIX}{}-{}", std::process::id(), live.next))
}

/// From now on a signal is the expected end: everything is still taken down, and the exit status is 0.
pub fn signals_are_welcome() {
    SIGNAL_STATUS.store(0, Ordering::Relaxed);
}

/// Takes SIGINT, SIGTERM and SIGHUP: everything on the list goes, then the process ends with 130.
pub(super) fn catch_signals() {
    HANDLER.call_once(|| {
        // Even a signal that the parent had us ignore, as shells do for SIGINT in the background, ends us tidily.
        let _ = ctrlc::set_handler(|| {
            let mut live = live();
            live.closing = true;
            clear(&mut live);
            std::process::exit(SIGNAL_STATUS.load(Ordering::Relaxed));
        });
    });
}

fn clear(live: &mut Live) {
    stop_all(&live.processes);
    for name in live.namespaces.drain(..) {
        empty(&name);
        let _ = quiet("ip", &["netns", "del", &name]);
    }
    for directory in live.directories.drain(..) {
        let _ = fs::remove_dir_all(directory);
    }
}

/// Makes a namespace and puts it on the list.
pub(super) fn add_namespace(name: &str) -> Result<()> {
    let mut live = open()?;
    let mut command = Command::new("ip");
    command.args(["netns", "add", name]);
    let output = command.output().map_err(|source| Error::Start {
        program: "ip".into(),
        source,
    })?;
    check(&command, &output)?;
    live.namespaces.push(name.to_owned());
    Ok(())
}

/// Ends what runs in a namespace and deletes it.
pub(super) fn remove_namespace(name: &str) {
    let mut live = live();
    empty(name);
    let _ = quiet("ip", &["netns", "del", name]);
    live.namespaces.retain(|other| other != name);
}

/// Makes a directory below the temporary one and puts it on the list.
pub(super) fn add_directory(prefix: &str) -> Result<PathBuf> {
    let mut live = open()?;
    let directory = tempfile::Builder::new()
        .prefix(&format!("{prefix}-"))
        .tempdir()
        .map_err(|source| Error::File {
            path: std::env::temp_dir().display().to_string(),
            source,
        })?
        .keep();
    live.directories.push(directory.clone());
    Ok(directory)
}

/// Removes a directory and what is in it.
pub(super) fn remove_directory(path: &Path) {
    let mut live = live();
    let _ = fs::remove_dir_all(path);
    live.directories.retain(|other| other != path);
}

/// Starts a process and puts it on the list.
pub(super) fn spawn(command: &mut Command) -> Result<Child> {
    use std::os::unix::process::CommandExt as _;
    let mut live = open()?;
    // A group of its own: the terminal's Ctrl-C is for us, and we take the children down in our order.
    let child = command
        .process_group(0)
        .env(OWNER, format!("{PREFIX}{}-", std::process::id()))
        .spawn()
        .map_err(|source| Error::Start {
            program: line(command),
            source,
        })?;
    live.processes.push(child.id());
    Ok(child)
}

/// Takes a process that has been waited for from the list.
pub(super) fn forget_process(id: u32) {
    live().processes.retain(|other| *other != id);
}

/// Runs a command to its end, with its output; fails if it does.
pub(super) fn run(command: &mut Command) -> Result<Output> {
    let output = run_any(command)?;
    check(command, &output)?;
    Ok(output)
}

/// Runs a command to its end, whatever that is.
pub(super) fn run_any(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = spawn(command)?;
    let id = child.id();
    let output = child.wait_with_output();
    forget_process(id);
    output.map_err(|source| Error::Start {
        program: line(command),
        source,
    })
}

/// Runs a command with this text as its input; fails if it does.
pub(super) fn run_with_input(command: &mut Command, input: &str) -> Result<Output> {
    use std::io::Write as _;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let id = child.id();
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early breaks the pipe; its exit status says more than the pipe's error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output();
    forget_process(id);
    let output = output.map_err(|source| Error::Start {
        program: line(command),
        source,
    })?;
    check(command, &output)?;
    Ok(output)
}

/// The command as one would type it.
pub(super) fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

fn check(command: &Command, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        command: line(command),
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Runs a command whose failure does not matter; gives what it printed.
fn quiet(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

/// Ends every process inside a namespace, and says which. They are all ours: nobody else's namespaces have our names.
fn empty(namespace: &str) -> Vec<u32> {
    let inside: Vec<u32> = quiet("ip", &["netns", "pids", namespace])
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect();
    stop_all(&inside);
    inside
}

fn stop_all(processes: &[u32]) {
    signal_all(processes, Signal::TERM);
    let deadline = Instant::now() + Duration::from_millis(1500);
    while processes.iter().any(|id| runs(*id)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    signal_all(processes, Signal::KILL);
}

fn signal_all(processes: &[u32], signal: Signal) {
    for id in processes.iter().filter(|id| runs(**id)) {
        send(*id, signal);
    }
}

/// Sends a signal to one process.
pub(super) fn send(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process exists and is more than a zombie.
fn runs(id: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else {
        return false;
    };
    // The name in parentheses may hold anything, so the state is looked for after the last of them.
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X') | None))
}

/// What [`sweep`] has taken down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Processes that were told to end.
    pub processes: Vec<u32>,
    /// Namespaces that were deleted.
    pub namespaces: Vec<String>,
    /// Directories that were deleted.
    pub directories: Vec<PathBuf>,
    /// What is still there, in words.
    pub left: Vec<String>,
}

/// Takes down what an owner that no longer runs has left behind, and says what that was.
pub fn sweep() -> Swept {
    let _live = live();
    let mut swept = Swept {
        processes: orphan_processes(),
        ..Swept::default()
    };
    stop_all(&swept.processes);
    for name in quiet("ip", &["netns", "list"])
        .lines()
        .filter_map(|line| line.split_whitespace().next())
    {
        if orphan(name) {
            swept.processes.extend(empty(name));
            let _ = quiet("ip", &["netns", "del", name]);
            swept.namespaces.push(name.to_owned());
        }
    }
    let listed = quiet("ip", &["netns", "list"]);
    let stays = |name: &String| {
        let mut names = listed
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        names.any(|listed| listed == name)
    };
    let namespaces = swept.namespaces.extract_if(.., |name| stays(name));
    swept
        .left
        .extend(namespaces.map(|name| format!("namespace {name}")));
    swept.sweep_directories(&std::env::temp_dir());
    // Which may take a moment to end.
    let deadline = Instant::now() + Duration::from_millis(500);
    while swept.processes.iter().any(|id| runs(*id)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let processes = swept.processes.extract_if(.., |id| runs(*id));
    swept
        .left
        .extend(processes.map(|id| format!("process {id}")));
    swept
}

impl Swept {
    fn sweep_directories(&mut self, within: &Path) {
        let entries = fs::read_dir(within).into_iter().flatten();
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(orphan) {
                match fs::remove_dir_all(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        let path = entry.path();
                        self.left.push(format!("{}: {error}", path.display()));
                    }
                    _ => self.directories.push(entry.path()),
                }
            }
        }
    }
}

/// Processes that an owner started which no longer runs. A process whose environment cannot be read is
/// another user's.
fn orphan_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| runs(*id) && has_orphan_owner(*id))
        .collect()
}

fn has_orphan_owner(id: u32) -> bool {
    let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='))
        .any(|(name, value)| name == OWNER && orphan(value))
}

/// Whether this is a name of ours whose owner is gone.
fn orphan(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('-'))
        .and_then(|(id, _)| id.parse::<u32>().ok())
        .is_some_and(|id| !runs(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_removed_is_told() {
        let temporary = std::env::temp_dir();
        let within = temporary.join(format!("sweep-{}", std::process::id()));
        let (gone, stays) = (within.join("plim-4194999-1"), within.join("plim-4194999-2"));
        fs::create_dir_all(&gone).unwrap();
        // A file is no directory, for root either.
        fs::write(&stays, "").unwrap();
        let mut swept = Swept::default();
        swept.sweep_directories(&within);
        fs::remove_dir_all(&within).unwrap();
        assert_eq!(swept.directories, [gone]);
        assert!(swept.left[0].starts_with(&stays.display().to_string()));
    }

    #[test]
    fn only_names_of_dead_owners_are_orphans() {
        assert!(orphan("plim-4194999-1-client"));
        assert!(!orphan(&format!("plim-{}-1-client", std::process::id())));
        assert!(!orphan("plim-x-1"));
        assert!(!orphan("somebody-elses-4194999-1"));
    }
}
