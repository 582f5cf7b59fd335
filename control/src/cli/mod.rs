//! The `plimsoll` command: its definition, one file per subcommand, and what they share.
//! Subcommands write to what they are given and return an [`Exit`]; only `main` ends the process.

mod arguments;
mod check;
mod client;
mod completion;
mod doctor;
mod drops;
mod export;
mod import;
mod list;
mod neighbors;
mod orders;
mod output;
mod plan;
mod ports;
mod real_setup;
mod reload;
mod routes;
mod schema;
mod simulate;
mod status;
mod table;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config;
use arguments::duration;
use client::Client;
pub use output::{Exit, Format, Pipe, Terminal};

/// Talks to a running plimsolld and checks its configuration.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// The daemon's control socket.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "PLIMSOLL_SOCKET",
        hide_env_values = true
    )]
    #[arg(default_value = config::file::DEFAULT_SOCKET)]
    socket: PathBuf,
    /// How long the daemon may give no sign before this ends with exit 5 [default: 10s; reload: 60s]. In front of
    /// the command, since `list` has a `--timeout` of ipvsadm's.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// How the subcommand writes its result; it may also stand behind the subcommand, which then counts.
    // Not `global`: `import keepalived -o` names a file.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed, 2 usage, 3 invalid configuration, 5 daemon not reachable, \
                          6 plan has changes";

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Plan(plan::Args),
    Reload(reload::Args),
    List(list::Args),
    Drain(orders::Drain),
    Undrain(orders::Undrain),
    Disable(orders::Disable),
    Enable(orders::Enable),
    Weight(orders::Weight),
    Drops(drops::Args),
    Status(status::Args),
    Ports(ports::Args),
    Neighbors(neighbors::Args),
    Routes(routes::Args),
    RealSetup(real_setup::Args),
    Doctor(doctor::Args),
    Schema(schema::Args),
    Completion(completion::Args),
    Simulate(simulate::Args),
    Import(import::Args),
    Export(export::Args),
}

impl Command {
    /// The subcommand's own `-o`; `None` if its result has one form only.
    fn output(&mut self) -> Option<&mut Option<Format>> {
        match self {
            Self::Check(args) => Some(&mut args.output),
            Self::Plan(args) => Some(&mut args.output),
            Self::Reload(args) => Some(&mut args.output),
            Self::List(args) => Some(&mut args.output),
            Self::Drain(args) => Some(&mut args.common.output),
            Self::Undrain(args) => Some(&mut args.common.output),
            Self::Disable(args) => Some(&mut args.common.output),
            Self::Enable(args) => Some(&mut args.common.output),
            Self::Weight(args) => Some(&mut args.common.output),
            Self::Drops(args) => Some(&mut args.output),
            Self::Status(args) => Some(&mut args.output),
            Self::Ports(args) => Some(&mut args.output),
            Self::Neighbors(args) => Some(&mut args.output),
            Self::Routes(args) => Some(&mut args.output),
            Self::RealSetup(args) => Some(&mut args.output),
            Self::Doctor(args) => Some(&mut args.output),
            Self::Schema(_)
            | Self::Completion(_)
            | Self::Simulate(_)
            | Self::Import(_)
            | Self::Export(_) => None,
        }
    }

    fn run(self, client: &Client, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
        match self {
            Self::Check(args) => args.run(terminal),
            Self::Plan(args) => args.run(client, terminal),
            Self::Reload(args) => args.run(client, terminal),
            Self::List(args) => args.run(client, terminal),
            Self::Drain(args) => args.run(client, terminal),
            Self::Undrain(args) => args.run(client, terminal),
            Self::Disable(args) => args.run(client, terminal),
            Self::Enable(args) => args.run(client, terminal),
            Self::Weight(args) => args.run(client, terminal),
            Self::Drops(args) => args.run(client, terminal),
            Self::Status(args) => args.run(client, terminal),
            Self::Ports(args) => args.run(client, terminal),
            Self::Neighbors(args) => args.run(client, terminal),
            Self::Routes(args) => args.run(client, terminal),
            Self::RealSetup(args) => args.run(client, terminal),
            Self::Doctor(args) => args.run(client, terminal),
            Self::Schema(args) => args.run(terminal),
            Self::Completion(args) => args.run(&mut Cli::command(), terminal),
            Self::Simulate(args) => args.run(terminal),
            Self::Import(args) => args.run(terminal),
            Self::Export(args) => args.run(terminal),
        }
    }
}

/// The whole program: reads `args` (the program's name first) and runs what they say on this process's
/// standard output and error.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let stderr_colour = !no_colour && io::stderr().is_terminal();
    let (mut out, mut err) = (
        io::BufWriter::new(output::Pipe(io::stdout().lock())),
        io::stderr().lock(),
    );
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        stderr_colour,
    };
    run(args, &mut terminal)
}

/// Like [`main`], on the outputs that it is given.
pub fn run(args: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> Exit {
    let mut cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" to clap, and print themselves in colour if they may.
            let printed = error.print();
            let nobody_reads = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
            return match printed {
                _ if error.use_stderr() => Exit::Usage,
                Err(error) if !nobody_reads(&error) => Exit::Failed,
                _ => Exit::Ok,
            };
        }
    };
    if let Some(format) = cli.output {
        match cli.command.output() {
            Some(own) => *own = own.or(Some(format)),
            None => {
                let _ = writeln!(
                    terminal.err,
                    "plimsoll: this subcommand's result has one form only: leave out the `-o` before it"
                );
                return Exit::Usage;
            }
        }
    }
    // What the exit code says is true also if nobody reads why.
    let mut err = output::Optional(&mut *terminal.err);
    let mut terminal = Terminal {
        out: &mut *terminal.out,
        err: &mut err,
        stderr_colour: terminal.stderr_colour,
    };
    let done = cli
        .command
        .run(&Client::new(&cli.socket, cli.timeout), &mut terminal)
        .and_then(|exit| terminal.out.flush().map(|()| exit));
    match done {
        Ok(exit) => exit,
        Err(error) => {
            let _ = writeln!(terminal.err, "plimsoll: cannot write: {error}");
            Exit::Failed
        }
    }
}
